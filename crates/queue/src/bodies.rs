//! The bodies of responses, in the object store of the server.

use std::path::Path;

use async_nats::jetstream::object_store::{self, InfoErrorKind, ObjectInfo, ObjectStore};
use async_nats::jetstream::stream::Stream;
use base64::prelude::{BASE64_URL_SAFE, Engine};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::error::{Error, ErrorKind};
use crate::queue::Queue;
use crate::server::RETRY;

/// How often a body that one of several replicas does not have is requested.
const MAX_ATTEMPTS: usize = 20;

/// Stores and reads bodies. Clones share the connection.
///
/// The server stores a body in parts of 128 KiB. [`Queue::delete`] also deletes the bodies of the queue.
#[derive(Clone)]
pub struct Bodies {
    queue: Queue,
    store: ObjectStore,
    /// The stream with the parts of the bodies.
    parts: Stream,
}

impl std::fmt::Debug for Bodies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bodies")
            .field("queue", &self.queue.parts.name)
            .finish_non_exhaustive()
    }
}

impl Queue {
    /// Opens or creates the object store of the queue.
    ///
    /// # Errors
    ///
    /// [`Server`](ErrorKind::Server).
    pub async fn bodies(&self) -> Result<Bodies, Error> {
        let queue = self.clone();
        let opening = move || open(queue.clone());
        self.server.repeat(opening).await
    }
}

async fn open(queue: Queue) -> Result<Bodies, Error> {
    let config = object_store::Config {
        bucket: queue.parts.name.bodies(),
        num_replicas: queue.parts.settings.replicas,
        ..object_store::Config::default()
    };
    let store = queue.server.context().create_object_store(config).await;
    let store = store.map_err(Error::server("create the object store"))?;
    let stream = format!("OBJ_{}", queue.parts.name.bodies());
    let parts = queue.server.context().get_stream(stream).await;
    let parts = parts.map_err(Error::server("open the object store"))?;
    Ok(Bodies {
        queue,
        store,
        parts,
    })
}

impl Bodies {
    /// Stores the contents of a file. Use each name only once ([`Job::new_body_name`](crate::Job::new_body_name)).
    ///
    /// # Errors
    ///
    /// [`File`](ErrorKind::File) if the file cannot be read, and [`Server`](ErrorKind::Server).
    pub async fn store(&self, name: &str, file: &Path) -> Result<(), Error> {
        let (store, name, path) = (self.store.clone(), name.to_owned(), file.to_owned());
        let storing = move || {
            let (store, name, path) = (store.clone(), name.clone(), path.clone());
            async move {
                let file = File::open(&path).await;
                let mut file = file.map_err(Error::file("read", &path))?;
                let stored = store.put(&*name, &mut file).await;
                stored.map(drop).map_err(Error::server("store a body"))
            }
        };
        self.queue.server.repeat(storing).await
    }

    /// Writes a body to a file, and replaces an existing file. The file is complete when this function succeeds.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if there is no such body, [`File`](ErrorKind::File) if the file cannot be
    /// written, [`Data`](ErrorKind::Data) if the body is damaged, and [`Server`](ErrorKind::Server). After an error,
    /// the file may be incomplete.
    pub async fn read(&self, name: &str, file: &Path) -> Result<(), Error> {
        let (bodies, name, path) = (self.clone(), name.to_owned(), file.to_owned());
        let reading = move || {
            let (bodies, name, path) = (bodies.clone(), name.clone(), path.clone());
            async move { bodies.read_once(&name, &path).await }
        };
        self.queue.server.repeat(reading).await
    }

    async fn read_once(&self, name: &str, path: &Path) -> Result<(), Error> {
        let info = self.info(name).await?;
        let created = File::create(path).await;
        let mut file = created.map_err(Error::file("write", path))?;
        self.copy(&info, &mut file, path).await?;
        let synced = file.sync_all().await;
        synced.map_err(Error::file("write", path))
    }

    async fn info(&self, name: &str) -> Result<ObjectInfo, Error> {
        let mut attempt = 1;
        loop {
            let error = match self.store.info(name).await {
                Ok(info) => return Ok(info),
                Err(error) => error,
            };
            if error.kind() != InfoErrorKind::NotFound {
                return Err(Error::server("describe a body")(error));
            }
            // The response can come from a replica that is late.
            if self.queue.parts.settings.replicas == 1 || attempt == MAX_ATTEMPTS {
                let message = format!("there is no body {name}");
                return Err(Error::new(ErrorKind::NotFound, message).with_source(error));
            }
            attempt += 1;
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Copies the parts of a body. `ObjectStore::get` would create a consumer for each body. The server limits the
    /// number of consumers, and removes each of these consumers only minutes later.
    async fn copy(&self, info: &ObjectInfo, file: &mut File, path: &Path) -> Result<(), Error> {
        let subject = format!("$O.{}.C.{}", info.bucket, info.nuid);
        let (mut sequence, mut digest) = (None, Sha256::new());
        for _ in 0..info.chunks {
            let (found, payload) = self.part(&subject, sequence).await?;
            sequence = Some(found + 1);
            digest.update(&payload);
            let written = file.write_all(&payload).await;
            written.map_err(Error::file("write", path))?;
        }
        let digest = BASE64_URL_SAFE.encode(digest.finalize());
        match info.digest.as_deref() == Some(&*format!("SHA-256={digest}")) {
            true => Ok(()),
            false => {
                let message = format!("the body {} differs from its digest", info.name);
                Err(Error::new(ErrorKind::Data, message))
            }
        }
    }

    /// Returns the sequence number and the payload of the first part whose number is at least `from`.
    async fn part(&self, subject: &str, from: Option<u64>) -> Result<(u64, Bytes), Error> {
        let got = self.parts.direct_get_next_for_subject(subject, from).await;
        let message = got.map_err(Error::server("deliver a body"))?;
        Ok((message.sequence, message.payload))
    }
}
