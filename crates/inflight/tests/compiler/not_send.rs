//! A job that is not `Send` cannot run in a task of a runtime.
//! error: has type `Rc<str>` which is not `Send`

use std::rc::Rc;

use inflight::{Error, Session, gather};

pub async fn fetch(session: &Session, url: Rc<str>) -> Result<(), Error> {
    let session = session.clone();
    let runtime = session.runtime().clone();
    let job = async move {
        let text = session.get(&*url).text().await?;
        Ok::<_, Error>(text.contains(&*url))
    };
    gather([job]).on(&runtime).all().await?;
    Ok(())
}
