//! Request bodies that are created when the request is sent.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use http::header::CONTENT_TYPE;

use crate::backend::fetch::BoxFuture;
use crate::backend::runtime::Runtime;
use crate::error::Error;
use crate::message::body::Body;
use crate::message::progress::ProgressCallback;
use crate::upload::multipart::Multipart;

/// The source and the progress callback of a request's body.
#[derive(Default)]
pub(crate) struct Upload {
    pub(crate) source: Option<UploadSource>,
    pub(crate) watcher: Option<ProgressCallback>,
}

/// The source of a body that is created when the request is sent.
pub(crate) enum UploadSource {
    File(PathBuf),
    Open(fs::File),
    Form(Multipart),
}

impl Upload {
    /// Opens the source, sets the request's body and attaches the progress callback.
    pub(crate) fn prepare<'a>(
        self: Box<Self>,
        request: &'a mut http::Request<Body>,
        runtime: &'a Arc<dyn Runtime>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let Self { source, watcher } = *self;
            if let Some(source) = source {
                source.open(request, runtime).await?;
            }
            if let Some(watcher) = watcher {
                let body = std::mem::take(request.body_mut());
                *request.body_mut() = body.with_observer(watcher);
            }
            Ok(())
        })
    }
}

impl UploadSource {
    async fn open(
        self,
        request: &mut http::Request<Body>,
        runtime: &Arc<dyn Runtime>,
    ) -> Result<(), Error> {
        *request.body_mut() = match self {
            Self::File(path) => Body::from_file(path, runtime.clone()).await?,
            Self::Open(file) => Body::from_open_file(file, runtime.clone()).await?,
            Self::Form(form) => {
                let content_type = form.content_type()?;
                request.headers_mut().insert(CONTENT_TYPE, content_type);
                form.into_body(runtime).await?
            }
        };
        Ok(())
    }
}
