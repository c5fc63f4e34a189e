//! The job that fetches one URL.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use inflight::download::{ChunkOrRestart, CompleteFile};
use inflight::http::StatusCode;
use inflight::url::Url;
use inflight::{Error, ErrorKind, Phase, RequestBuilder, Session};
use sha2::{Digest, Sha256};

use crate::exchange::{ResponseOptions, ResponseReader, SharedStats};
use crate::input::InputUrl;
use crate::output::{Failure, Fetched};
use crate::request::RequestSettings;
use crate::robots::{RedirectedRequest, RobotsError, RobotsRules};
use crate::save::{BodyInfo, OutputDirectory, SaveDecision, SavedBody, relative_path};

/// How many hosts with unknown rules the redirects of one URL may lead to.
const MAX_NEW_HOSTS: usize = 20;

/// What all jobs have in common.
#[derive(Clone)]
pub(crate) struct FetchContext {
    pub(crate) session: Session,
    pub(crate) settings: Arc<RequestSettings>,
    /// The limit for the total wait in the gather and in the session.
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) options: ResponseOptions,
    pub(crate) with_digest: bool,
    pub(crate) probe: bool,
    pub(crate) robots: Option<RobotsRules>,
    pub(crate) max_redirects: usize,
    pub(crate) directory: Option<OutputDirectory>,
}

/// The job of one URL. The caller keeps clones of `stats` and `decision`, because a job that is cancelled
/// returns nothing.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) index: usize,
    pub(crate) url: InputUrl,
    pub(crate) stats: SharedStats,
    pub(crate) decision: SaveDecision,
}

impl Job {
    /// Fetches the URL. Counts, hashes and saves the body as it arrives.
    pub(crate) async fn run(self, context: FetchContext) -> Result<Fetched, Failure> {
        let result = match self.check(&context) {
            Ok(()) => self.fetch_if_allowed(&context).await,
            Err(failure) => Err(failure),
        };
        self.stats.finish();
        result
    }

    /// Fetches the URL if the rules of its host and of the hosts of its redirects allow it.
    async fn fetch_if_allowed(&self, context: &FetchContext) -> Result<Fetched, Failure> {
        let failure = |error: &Error| match RobotsError::of(error) {
            Some(error) => {
                self.stats.uncount_attempt();
                error.failure()
            }
            None => self.failure(error),
        };
        let (Some(robots), Ok(mut url)) = (&context.robots, Url::parse(&self.url.text)) else {
            return self
                .fetch(context, None)
                .await
                .map_err(|error| failure(&error));
        };
        let mut redirected: Option<RedirectedRequest> = None;
        for _ in 0..=MAX_NEW_HOSTS {
            if matches!(url.scheme(), "http" | "https") {
                robots.check(&context.session, &url).await?;
            }
            let error = match self.fetch(context, redirected.as_ref()).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => error,
            };
            match RobotsError::of(&error) {
                Some(RobotsError::Unknown(request)) if !request.has_body => {
                    self.stats.uncount_attempt();
                    url = request.url.clone();
                    redirected = Some((**request).clone());
                }
                _ => return Err(failure(&error)),
            }
        }
        let message = "too many redirects to hosts whose robots.txt is unknown";
        Err(Failure::new(ErrorKind::TooManyRedirects, message))
    }

    /// Checks that the entry of the input can be requested.
    fn check(&self, context: &FetchContext) -> Result<(), Failure> {
        if let Some(fault) = &self.url.fault {
            let failure = Failure::new(fault.kind, &*fault.message);
            return Err(self.with_location(failure));
        }
        let name = match self.own_output() {
            None => Ok(()),
            Some(_) if context.directory.is_none() => {
                Err("the entry names a file: set the directory with --output")
            }
            Some(name) => relative_path(name).map(drop),
        };
        name.map_err(|message| self.with_location(Failure::new(ErrorKind::InvalidRequest, message)))
    }

    fn own_output(&self) -> Option<&str> {
        self.url.own.as_ref()?.output.as_deref()
    }

    fn failure(&self, error: &Error) -> Failure {
        let failure = Failure::from(error);
        match error.kind() {
            ErrorKind::InvalidUrl => self.with_location(failure),
            _ => failure,
        }
    }

    /// Adds the line of the entry to the message.
    fn with_location(&self, mut failure: Failure) -> Failure {
        if let Some(location) = &self.url.location {
            failure.message = format!("{location}: {}", failure.message);
        }
        failure
    }

    /// Sends the request of the entry, or continues it at a redirect.
    async fn fetch(
        &self,
        context: &FetchContext,
        redirected: Option<&RedirectedRequest>,
    ) -> Result<Fetched, Error> {
        let is_resumed = context
            .directory
            .as_ref()
            .is_some_and(OutputDirectory::is_resumed);
        let mut request = match redirected {
            // With `--continue`, the request starts at the URL of the entry again, because the partial file belongs
            // to this URL. The request is a GET.
            Some(redirected) if !is_resumed => self.redirected_request(context, redirected),
            redirected => {
                if redirected.is_some() {
                    self.stats.forget_redirects();
                }
                let own = self.url.own.as_deref();
                let settings = &context.settings;
                settings.request(&context.session, &self.url.text, own)
            }
        };
        if let Some(limit) = context.queue_timeout {
            let left = limit.saturating_sub(self.stats.snapshot().queued());
            if left.is_zero() {
                return Err(Error::timeout(Phase::Queue));
            }
            request = request.queue_timeout(left);
        }
        match &context.directory {
            Some(directory) if directory.is_resumed() => {
                self.resume(context, directory, request).await
            }
            directory => self.receive(context, directory.as_ref(), request).await,
        }
    }

    fn redirected_request(
        &self,
        context: &FetchContext,
        redirected: &RedirectedRequest,
    ) -> RequestBuilder {
        let RedirectedRequest {
            url,
            method,
            headers,
            ..
        } = redirected;
        let request = context.session.request(method.clone(), url);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(name.clone(), value.clone())
        });
        let followed = self.stats.snapshot().redirects as usize;
        request.max_redirects(context.max_redirects.saturating_sub(followed))
    }

    /// Fails if the response is a redirect beyond the limit. The session returns such a response if
    /// [`redirected_request`](Self::redirected_request) leaves it no redirects.
    fn check_redirects(&self, context: &FetchContext, status: StatusCode) -> Result<(), Error> {
        let limit = context.max_redirects;
        let followed = self.stats.snapshot().redirects as usize;
        let is_redirect = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
        match limit > 0 && followed == limit && is_redirect {
            true => Err(Error::new(ErrorKind::TooManyRedirects)
                .with_context(format!("more than {limit} in a row"))),
            false => Ok(()),
        }
    }

    /// Receives the whole body, and saves it if there is a directory.
    async fn receive(
        &self,
        context: &FetchContext,
        directory: Option<&OutputDirectory>,
        request: RequestBuilder,
    ) -> Result<Fetched, Error> {
        let mut digest = context.with_digest.then(Sha256::new);
        let mut reader = ResponseReader::open(request, context.options, self.stats.clone()).await?;
        self.check_redirects(context, reader.status())?;
        let runtime = context.session.runtime();
        let mut file =
            directory.map(|directory| directory.partial_file(self.index, runtime.clone()));
        while let Some(part) = reader.chunk_or_restart().await? {
            match part {
                ChunkOrRestart::Chunk(chunk) => {
                    if let Some(digest) = &mut digest {
                        digest.update(&chunk);
                    }
                    if let Some(file) = &mut file {
                        file.write(&chunk).await?;
                    }
                }
                ChunkOrRestart::Restart => {
                    if let Some(digest) = &mut digest {
                        digest.reset();
                    }
                    if let Some(file) = &mut file {
                        file.restart().await?;
                    }
                }
            }
        }
        let sha256 = digest.map(|digest| format!("{:x}", digest.finalize()));
        let (Some(file), Some(directory)) = (file, directory) else {
            return Ok(Fetched { sha256, file: None });
        };
        let info = self.body_info(sha256);
        let (directory, decision) = (directory.clone(), self.decision.clone());
        let saved = file
            .finish_with(move |file| directory.save(file, info, false, &decision))
            .await?;
        Ok(saved.into())
    }

    /// Receives the rest of a body that an earlier run has begun, or the whole body.
    async fn resume(
        &self,
        context: &FetchContext,
        directory: &OutputDirectory,
        request: RequestBuilder,
    ) -> Result<Fetched, Error> {
        let counted = self.stats.clone();
        let request = self.stats.observe_download(request);
        let request = request.on_progress(move |so_far| counted.set_bytes(so_far.bytes));
        let (job, with_digest) = (self.clone(), context.with_digest);
        let path = directory.temporary_path(self.index);
        let directory = directory.clone();
        let save = move |file: CompleteFile| {
            let path = file.temporary_path();
            let bytes = path.map(|path| Ok::<_, io::Error>(path.metadata()?.len()));
            job.stats
                .finish_download(bytes.transpose()?.unwrap_or_default());
            directory.save(file, job.body_info(None), with_digest, &job.decision)
        };
        Ok(request.resume_with(path, save).await?.into())
    }

    fn body_info(&self, sha256: Option<String>) -> BodyInfo {
        let stats = self.stats.snapshot();
        BodyInfo {
            index: self.index,
            url: self.url.text.clone(),
            id: self.url.id().map(str::to_owned),
            output: self.own_output().map(str::to_owned),
            content_type: stats.content_type,
            bytes: stats.bytes,
            sha256,
        }
    }
}

impl From<SavedBody> for Fetched {
    fn from(saved: SavedBody) -> Self {
        Self {
            sha256: saved.sha256,
            file: Some(saved.file),
        }
    }
}
