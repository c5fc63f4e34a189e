//! `inflight queue push`: adds URLs.

use std::future::poll_fn;
use std::pin::pin;

use futures_lite::future::or;

use super::connect::{failed, open, start_error};
use super::job;
use crate::args;
use crate::exit::{CliError, ExitStatus, print_to_stderr};
use crate::input::Input;
use crate::progress::{Progress, Unit};
use crate::signal::Interrupt;

pub(super) async fn run(args: args::Push) -> Result<ExitStatus, CliError> {
    let mut input = Input::open(Vec::new(), Some(&args.input), args.input_format)?;
    let queue = open(&args.connection, &args.name).await?;
    let interrupt = Interrupt::listen()?;
    let progress = Progress::start(args.progress, Unit::Urls);
    if progress.is_shown() {
        let progress = progress.clone();
        input.count(move |total| progress.set_total(total));
    }
    let mut pusher = queue.pusher().await.map_err(start_error)?;
    let earlier = pusher.resumed_at();
    let pushing = async {
        while let Some(url) = poll_fn(|cx| input.poll_next(cx)).await {
            let json = job::encode(&url).map_err(CliError::failed)?;
            pusher.push(&job::host(&url), json).await.map_err(failed)?;
            progress.set_position(pusher.acknowledged());
        }
        Ok(false)
    };
    let interrupted = async {
        interrupt.wait().await;
        Ok(true)
    };
    let is_interrupted = or(pin!(interrupted), pin!(pushing)).await;
    progress.clear();
    let is_interrupted = is_interrupted?;
    if let Some(failure) = input.failure() {
        return Err(CliError::failed(failure));
    }
    let total = match is_interrupted {
        true => pusher.interrupt().await,
        false => pusher.finish(args.seal).await,
    };
    let total = total.map_err(failed)?;
    print_to_stderr(format_args!(
        "{total} URLs, {} of them from an earlier push",
        earlier.min(total)
    ));
    Ok(match is_interrupted {
        true => ExitStatus::Interrupted,
        false => ExitStatus::Success,
    })
}
