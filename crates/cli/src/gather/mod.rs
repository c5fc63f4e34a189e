//! `inflight gather`: fetches many URLs at once and reports the result of each URL as soon as it is known.

mod duplicates;
pub(crate) mod fetch;
mod pulled;
pub(crate) mod run;

use std::num::{NonZeroU32, NonZeroUsize};
use std::rc::Rc;
use std::sync::Arc;

use inflight::probe::exchanges;
use inflight::{BlockOn, SessionBuilder};

use crate::args::{self, HostInterval, Limits, RequestArgs};
use crate::exchange::ResponseOptions;
use crate::exit::{CliError, ExitStatus};
use crate::input::Input;
use crate::journal::{EarlierRecords, Journal};
use crate::output::Printer;
use crate::probe::LoopProbe;
use crate::progress::{Progress, Unit};
use crate::request::RequestSettings;
use crate::robots::{RobotsClient, RobotsRules};
use crate::save::{self, DirectoryOptions, OutputDirectory};
use crate::session::{self, Client};
use crate::signal::Interrupt;
use crate::summary::Summary;
use duplicates::Duplicates;
use fetch::FetchContext;
use pulled::{PulledUrls, check_input};
use run::{GatherRun, HostLimits};

pub(crate) fn run(args: args::Gather) -> Result<ExitStatus, CliError> {
    let limits = args.limits.with_politeness();
    let input = Input::open(args.urls, args.input.as_deref(), args.input_format)?;
    let settings = RequestSettings::from_args(&args.requests)?;
    if let Some(directory) = &args.output {
        // The journal may be in the directory. `OutputDirectory` reports an error.
        let _ = std::fs::create_dir_all(directory);
        if args.journal.as_deref() == Some(&*directory.join(save::MANIFEST)) {
            return Err(CliError::usage(
                "the journal needs another name than the manifest of --output",
            ));
        }
    }
    let journal = args.journal.as_deref();
    let journal = journal.map(|path| Journal::open(path, args.retry_failed));
    let (journal, mut earlier) = journal.transpose()?.unzip();
    // Before the directory is opened, because that deletes unfinished files.
    if let Some(earlier) = &earlier {
        check_input(&input, earlier)?;
    }
    let options = args.output.map(|path| DirectoryOptions {
        path,
        template: args.names.unwrap_or_default(),
        is_resumed: args.resume,
    });
    let opened = options.map(|options| OutputDirectory::open(options, earlier.as_ref()));
    let opened = opened.transpose()?;
    if let (None, Some(opened)) = (&earlier, &opened) {
        let urls = opened.finished.iter().map(|(index, url)| (*index, &**url));
        let finished = EarlierRecords::of_manifest(urls);
        check_input(&input, &finished)?;
        earlier = Some(finished);
    }
    let earlier = earlier.unwrap_or_default();
    let robots = robots_rules(&limits, &settings, &args.requests);
    let client = start_client(
        &args.requests,
        &limits,
        &settings,
        robots.as_ref(),
        |builder| match args.probe {
            true => builder.wrap(exchanges("client")),
            false => builder,
        },
    )?;
    let interrupt = Interrupt::listen()?;
    let loop_probe = args
        .probe
        .then(|| LoopProbe::start(&client.backend))
        .transpose()?;

    let progress = Progress::start(args.requests.progress, Unit::Urls);
    if progress.is_shown() {
        let progress = progress.clone();
        input.count(move |total| progress.set_total(total));
    }
    let duplicates = args.dedup.then(Duplicates::default);
    let (directory, completion) = opened
        .map(|opened| (opened.directory, opened.completion))
        .unzip();
    let gather = GatherRun {
        limit: limits.limit.get(),
        hosts: HostLimits::new(&limits, robots.clone()),
        deadline: args.deadline,
        fail_fast: args.fail_fast,
        printer: Printer::stdout(args.requests.format, args.digest),
        summary_format: args.summary,
        summary: Summary::default(),
        pulled: Rc::new(PulledUrls::new(
            input,
            earlier,
            progress.clone(),
            duplicates,
        )),
        progress,
        journal,
    };
    let context = FetchContext {
        session: client.session.clone(),
        settings: Arc::new(settings),
        queue_timeout: args.requests.queue_timeout,
        options: ResponseOptions::from_args(&args.requests),
        with_digest: args.digest,
        probe: args.probe,
        robots,
        max_redirects: args.requests.max_redirects,
        directory,
    };
    let status = client.backend.block_on(async {
        let status = gather.run(context, &interrupt).await;
        // Cancelled jobs may still be writing a file.
        if let Some(completion) = completion {
            completion.wait().await;
        }
        if let Some(loop_probe) = loop_probe {
            loop_probe.report();
        }
        status
    });
    // Also after an error, because the cookies may be those of a login.
    let saved = client.save_cookies();
    status.and_then(|status| saved.map(|()| status))
}

/// Returns the rules of `--robots`.
pub(crate) fn robots_rules(
    limits: &Limits,
    settings: &RequestSettings,
    requests: &RequestArgs,
) -> Option<RobotsRules> {
    limits.robots.then(|| {
        let agent = settings.user_agent();
        let agent = agent.unwrap_or_else(|| session::user_agent(requests));
        RobotsRules::new(agent, requests.timeout)
    })
}

/// Starts a backend and builds a session with the limits. `wrap` wraps the client before the rules of `--robots` do.
pub(crate) fn start_client(
    requests: &RequestArgs,
    limits: &Limits,
    settings: &RequestSettings,
    robots: Option<&RobotsRules>,
    wrap: impl FnOnce(SessionBuilder) -> SessionBuilder,
) -> Result<Client, CliError> {
    session::start(requests, |builder| {
        let builder = builder
            .head_timeout(settings.head_timeout(requests))
            .max_per_host(limits.per_host.map(NonZeroUsize::get));
        let builder = match limits.host_rate {
            Some(HostInterval(interval)) => builder.max_rate_per_host(1, interval),
            None => builder,
        };
        let builder = match robots.cloned() {
            Some(robots) => wrap(builder).wrap(|client| RobotsClient::new(client, robots)),
            None => wrap(builder),
        };
        match limits.rate.map(NonZeroU32::get) {
            // Allows bursts, because timers have a resolution of about a millisecond.
            Some(rate) => builder.max_rate(rate, (rate / 20).max(1)),
            None => builder,
        }
    })
}
