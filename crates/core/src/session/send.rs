//! Sends a request and returns its response, whose body continues the exchange.

use std::sync::Arc;

use http::Request;

use super::body_retry::{BodyRetry, Transfer};
use super::exchange::{Exchange, Head};
use super::limited_body::LimitedBody;
use super::limits::Permits;
use super::policy::RequestPolicy;
use super::state::SessionState;
use super::template::RequestTemplate;
use super::timer::ExchangeTimer;
use crate::error::Error;
use crate::message::body::Body;
use crate::message::response::Response;
use crate::message::target::Target;
use crate::upload::prepare::Upload;

/// Sends a request under the session's policy.
pub(crate) async fn exchange(
    session: Arc<SessionState>,
    target: Result<Target, Error>,
    mut request: Request<Body>,
    upload: Option<Box<Upload>>,
    policy: Arc<RequestPolicy>,
) -> Result<Response, Error> {
    let observed = session.start_observing(&mut request, target.as_ref().ok());
    let mut target = match target {
        Ok(target) => target,
        Err(error) => {
            if let Some(observed) = observed {
                observed.report_failure(&error);
            }
            return Err(error);
        }
    };
    let timer = match ExchangeTimer::start(policy.timeout, policy.deadline, &session.in_flight) {
        Ok(timer) => timer,
        Err(error) => {
            let error = target.add_url(error);
            if let Some(observed) = observed {
                observed.report_failure(&error);
            }
            return Err(error);
        }
    };
    let mut exchange = Exchange {
        session: &session,
        policy: &policy,
        template: RequestTemplate::new(request, policy.decompress),
        upload,
        timer,
        attempt_end: None,
        permits: Permits::default(),
        head: Head::default(),
        has_coding: false,
        is_body_retry: false,
        attempts: 0,
        retries: None,
        is_retry_budget_exhausted: false,
        observed,
    };
    let mut history = Vec::new();
    match exchange.run(&mut target, &mut history).await {
        Ok(()) => {
            let Exchange {
                head: mut response,
                template,
                timer,
                attempt_end,
                permits,
                retries,
                attempts,
                has_coding,
                is_retry_budget_exhausted,
                observed,
                ..
            } = exchange;
            let pool = session.clone();
            if !http_body::Body::is_end_stream(response.body()) {
                let may_retry =
                    policy.retries_bodies && !policy.retry.is_off() && template.can_be_sent();
                let retry = may_retry.then(|| {
                    let retry = BodyRetry::new(&policy, template, &target, &response, has_coding);
                    Box::new(retry.with_history(history.len(), attempts, retries))
                });
                let transfer = Transfer {
                    status: response.status(),
                    body: std::mem::take(response.body_mut()),
                    timer,
                    permits,
                    attempt_end,
                    end: retry.as_ref().and_then(|retry| retry.total()),
                    observed,
                    retry,
                };
                let limited = LimitedBody::new(transfer, session, policy.read_timeout);
                *response.body_mut() = Body::from_source(limited);
            } else if let Some(observed) = observed {
                observed.report_done(response.status());
            }
            let response = Response::new(response, target, policy.max_body, pool).with_history(
                history,
                attempts,
                is_retry_budget_exhausted,
            );
            match policy.error_for_status {
                true => response.error_for_status(),
                false => Ok(response),
            }
        }
        Err(error) => {
            let error = target.add_url(session.explain(error));
            let error = error
                .with_history(history.len(), exchange.attempts)
                .with_retry_budget_exhausted(exchange.is_retry_budget_exhausted);
            if let Some(observed) = exchange.observed {
                observed.report_failure(&error);
            }
            Err(error)
        }
    }
}
