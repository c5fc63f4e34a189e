//! Saving the body of a response.

use std::path::PathBuf;

use super::partial_file::PartialFile;
use crate::error::{Error, ErrorKind};
use crate::message::body::ChunkOrRestart;
use crate::message::response::Response;

impl Response {
    /// Writes the body to a file, and returns the number of bytes. The file appears under its name only when
    /// the body is complete: see [`PartialFile`].
    ///
    /// The session's runtime writes the file on its blocking pool. Use [`on_progress`](Self::on_progress) to
    /// watch the progress. The limit [`max_body`](crate::SessionBuilder::max_body) does not apply, because the
    /// body is never in memory as a whole.
    ///
    /// The method saves the response whatever its status. To save only a success, call
    /// [`error_for_status`](Self::error_for_status) first.
    ///
    /// ```
    /// # use inflight_core::{Error, Session};
    /// # async fn download(session: &Session) -> Result<(), Error> {
    /// let response = session.get("http://pages.test/book.pdf").send().await?;
    /// let bytes = response.error_for_status()?.save_to("book.pdf").await?;
    /// # let _ = bytes;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// To continue a download that has ended early, use
    /// [`RequestBuilder::resume_to`](crate::RequestBuilder::resume_to).
    ///
    /// # Errors
    ///
    /// The same as [`chunk`](Self::chunk), and these:
    ///
    /// - [`ErrorKind::Io`] if the file cannot be written. An existing file then stays unchanged.
    /// - [`ErrorKind::NoRuntime`] if the response does not come from a session.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the exchange and deletes the temporary file.
    #[doc(alias("download", "copy_to"))]
    pub fn save_to(
        self,
        path: impl Into<PathBuf>,
    ) -> impl Future<Output = Result<u64, Error>> + Send + 'static {
        save(self, path.into())
    }
}

async fn save(mut response: Response, path: PathBuf) -> Result<u64, Error> {
    let pool = response.blocking_pool().ok_or_else(|| {
        Error::new(ErrorKind::NoRuntime).with_context(
            "only the response of a session can be saved, because the session's runtime writes the file",
        )
    })?;
    let mut file = PartialFile::on_pool(pool, path);
    let mut bytes = 0;
    while let Some(part) = response.chunk_or_restart().await? {
        match part {
            ChunkOrRestart::Chunk(chunk) => {
                bytes += chunk.len() as u64;
                file.write(&chunk).await?;
            }
            ChunkOrRestart::Restart => {
                bytes = 0;
                file.restart().await?;
            }
        }
    }
    file.finish().await?;
    Ok(bytes)
}
