//! Dropping: it ends the exchange, and its connection serves nobody afterwards.

use std::future::ready;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use inflight_core::{Body, Error, Response, Session};
use inflight_origin::script::{Script, Scripted};

use crate::case::suite;
use crate::check::{Failure, check, equal};
use crate::context::{Context, PATIENCE, abandon, apart, within};
use crate::servers::{closed, requests, scripted};
use crate::staged::Staged;

suite! { "cancel":
    request_dropped_before_the_head_is_seen_to_go needs prompt_cancel =>
        "The server sees the connection go as soon as a request is dropped.";
    body_dropped_half_read_is_seen_to_go needs prompt_cancel =>
        "The server sees the connection go as soon as a body is dropped.";
    upload_dropped_half_sent_is_seen_to_go needs prompt_cancel, streaming_upload =>
        "The server sees the connection go as soon as an upload is dropped.";
    request_dropped_before_the_head_is_gone_by_its_deadline =>
        "The server sees a dropped request go at the request's deadline at the latest.";
    body_dropped_half_read_is_gone_by_its_deadline =>
        "The server sees a dropped body go at the request's deadline at the latest.";
    request_dropped_before_the_head_goes_when_the_server_speaks =>
        "The server sees a dropped request go when it next sends something, deadline or not.";
    request_dropped_before_the_head_leaves_no_bytes =>
        "The answer to a dropped request reaches nobody else.";
    body_dropped_half_read_leaves_no_bytes =>
        "The rest of a dropped body reaches nobody else.";
    connection_of_a_dropped_request_serves_nobody =>
        "The connection of a dropped request carries no other request.";
    connection_of_a_dropped_body_serves_nobody =>
        "The connection of a dropped body carries no other request.";
    session_outlives_many_drops =>
        "After a hundred dropped requests the session answers.";
    request_dropped_while_connecting_holds_up_nobody =>
        "A request that is dropped while it connects gives its place up and holds up no other.";
}

const DEADLINE: Duration = Duration::from_secs(2);

async fn request_dropped_before_the_head_is_seen_to_go(context: Context) -> Result<(), Failure> {
    drop_before_the_head(&context.session()?, PATIENCE / 2).await
}

async fn request_dropped_before_the_head_is_gone_by_its_deadline(
    context: Context,
) -> Result<(), Failure> {
    let session = context.builder().timeout(DEADLINE).build()?;
    drop_before_the_head(&session, DEADLINE + PATIENCE / 2).await
}

async fn drop_before_the_head(session: &Session, time: Duration) -> Result<(), Failure> {
    let server = scripted(Script::new().read_request().hang())?;
    let request = session.get(server.url("/")).send();
    abandon(request, requests(&server, 1)).await?;
    closed(&server, 0, time).await
}

async fn body_dropped_half_read_is_seen_to_go(context: Context) -> Result<(), Failure> {
    drop_half_read(&context.session()?, PATIENCE / 2).await
}

async fn body_dropped_half_read_is_gone_by_its_deadline(context: Context) -> Result<(), Failure> {
    let session = context.builder().timeout(DEADLINE).build()?;
    drop_half_read(&session, DEADLINE + PATIENCE / 2).await
}

async fn drop_half_read(session: &Session, time: Duration) -> Result<(), Failure> {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let server = scripted(Script::new().read_request().send(response).hang())?;
        let mut response = session.get(server.url("/")).send().await?;
        first_piece(&mut response).await?;
        drop(response);
        closed(&server, 0, time).await?;
    }
    Ok(())
}

async fn upload_dropped_half_sent_is_seen_to_go(context: Context) -> Result<(), Failure> {
    let server = scripted(Script::new().read_head().read_body().hang())?;
    let first = stream::once(async { Ok::<_, Error>("half an upload") });
    let body = Body::from_stream(first.chain(stream::pending()));
    let request = context.session()?.post(server.url("/")).body(body).send();
    abandon(request, requests(&server, 1)).await?;
    closed(&server, 0, PATIENCE / 2).await?;
    let body = server.requests()[0].body.clone();
    check(body.is_empty(), "half an upload looked complete")
}

async fn request_dropped_before_the_head_goes_when_the_server_speaks(
    context: Context,
) -> Result<(), Failure> {
    let server = AfterDrop::start("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")?;
    // So far away that it cannot be the reason.
    let session = context
        .builder()
        .timeout(Duration::from_secs(600))
        .build()?;
    let request = session.get(server.url("/drop")).send();
    abandon(request, server.asked()).await?;
    server.speak().await?;
    server.left().await
}

async fn request_dropped_before_the_head_leaves_no_bytes(context: Context) -> Result<(), Failure> {
    requests_after_dropped_requests(&context, |_, _| Ok(())).await
}

async fn body_dropped_half_read_leaves_no_bytes(context: Context) -> Result<(), Failure> {
    requests_after_dropped_bodies(&context, |_, _| Ok(())).await
}

async fn connection_of_a_dropped_request_serves_nobody(context: Context) -> Result<(), Failure> {
    requests_after_dropped_requests(&context, on_another_connection).await
}

async fn connection_of_a_dropped_body_serves_nobody(context: Context) -> Result<(), Failure> {
    requests_after_dropped_bodies(&context, on_another_connection).await
}

fn on_another_connection(dropped: usize, next: usize) -> Result<(), Failure> {
    check(
        next != dropped,
        format!("connection {next} serves on after a drop"),
    )
}

/// What has to hold for the connections of the dropped request and of the next.
type Judge = fn(usize, usize) -> Result<(), Failure>;

async fn requests_after_dropped_requests(context: &Context, judge: Judge) -> Result<(), Failure> {
    let server = AfterDrop::start("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale")?;
    let session = context.session()?;
    for _ in 0..ROUNDS {
        let request = session.get(server.url("/drop")).send();
        let dropped = abandon(request, server.asked()).await?;
        server.speak().await?;
        judge(dropped, server.serves_fresh(&session).await?)?;
    }
    Ok(())
}

async fn requests_after_dropped_bodies(context: &Context, judge: Judge) -> Result<(), Failure> {
    let server = AfterDrop::start("-and-the-stale-rest")?;
    let session = context.session()?;
    for _ in 0..ROUNDS {
        let mut response = session.get(server.url("/half")).send().await?;
        let dropped = server.asked().await?;
        first_piece(&mut response).await?;
        drop(response);
        server.speak().await?;
        judge(dropped, server.serves_fresh(&session).await?)?;
    }
    Ok(())
}

const ROUNDS: usize = 20;

async fn first_piece(response: &mut Response) -> Result<(), Failure> {
    let piece = within("the first piece", PATIENCE / 2, response.chunk()).await??;
    check(piece.is_some(), "there is no first piece")
}

/// A server that says that it was asked for `/drop` or `/half`, waits until it is told to speak,
/// and then sends bytes that nobody is there for. To anything else it answers with the number of
/// the connection. Connections stay open as long as the client wants them.
struct AfterDrop {
    server: Staged,
    asked: async_channel::Receiver<usize>,
    speak: async_channel::Sender<()>,
    spoken: async_channel::Receiver<()>,
    left: async_channel::Receiver<usize>,
}

impl AfterDrop {
    fn start(stale: &'static str) -> Result<Self, Failure> {
        let (asking, asked) = async_channel::unbounded();
        let (speak, told) = async_channel::unbounded::<()>();
        let (speaking, spoken) = async_channel::unbounded();
        let (leaving, left) = async_channel::unbounded();
        let server = Staged::start(move |mut stage| {
            let connection = stage.connection;
            let mut play = || {
                loop {
                    let target = stage.read_head()?;
                    if target == "/fresh" {
                        stage.answer(&connection.to_string())?;
                        continue;
                    }
                    if target == "/half" {
                        stage.send("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf")?;
                    }
                    let _ = asking.send_blocking(connection);
                    if told.recv_blocking().is_err() {
                        return Ok(());
                    }
                    let sent = stage.send(stale);
                    let _ = speaking.send_blocking(());
                    sent?;
                }
            };
            let ended: std::io::Result<()> = play();
            let _ = leaving.send_blocking(connection);
            ended
        })?;
        Ok(Self {
            server,
            asked,
            speak,
            spoken,
            left,
        })
    }

    fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// Waits for a request that will be dropped, and gives its connection.
    async fn asked(&self) -> Result<usize, Failure> {
        let asked = within("the request at the server", PATIENCE / 2, self.asked.recv()).await?;
        asked.map_err(|_| Failure::new("the server is gone"))
    }

    /// Lets the server send what nobody is there for, and waits until it has.
    async fn speak(&self) -> Result<(), Failure> {
        let gone = |_| Failure::new("the server is gone");
        self.speak.send(()).await.map_err(gone)?;
        let spoken = within("the server's bytes", PATIENCE / 2, self.spoken.recv()).await?;
        spoken.map_err(|_| Failure::new("the server is gone"))
    }

    /// Waits until the server has seen a connection go.
    async fn left(&self) -> Result<(), Failure> {
        let left = within("the connection's end", PATIENCE / 2, self.left.recv()).await?;
        left.map(drop)
            .map_err(|_| Failure::new("the server is gone"))
    }

    /// The next request has its own answer: the number of the connection that it came on.
    async fn serves_fresh(&self, session: &Session) -> Result<usize, Failure> {
        let text = session.get(self.url("/fresh")).text().await?;
        let connection = text.parse();
        connection.map_err(|_| Failure::new(format!("the next request was answered {text:?}")))
    }
}

async fn session_outlives_many_drops(context: Context) -> Result<(), Failure> {
    let server = Staged::start(|mut stage| {
        while stage.read_head()? != "/hang" {
            stage.answer("alive")?;
        }
        stage.read_to_close();
        Ok(())
    })?;
    let session = context.session()?;
    for _ in 0..100 {
        // However far it has come by its first poll.
        let request = session.get(server.url("/hang")).send();
        abandon(request, ready(Ok(()))).await?;
    }
    let text = within(
        "an answer",
        PATIENCE / 2,
        session.get(server.url("/")).text(),
    )
    .await??;
    equal("the answer", text, "alive")
}

async fn request_dropped_while_connecting_holds_up_nobody(context: Context) -> Result<(), Failure> {
    let nowhere = apart(Scripted::unaccepting).await??;
    let pages = context.pages()?;
    let builder = context.builder().connect_timeout(None);
    let session = builder.max_per_host(Some(1)).build()?;
    for _ in 0..3 {
        // Another page comes meanwhile, so that the first has had its time to begin.
        let request = session.get(nowhere.url("/")).send();
        let meanwhile = async { Ok(session.get(pages.url("/get")).text().await?) };
        abandon(request, meanwhile).await?;
    }
    let another = session.get(pages.url("/get")).text();
    within("an answer", PATIENCE / 2, another).await??;
    equal("in flight", session.stats().in_flight, 0)
}
