//! `json_body` serializes the order and sets the content type. `json` parses the response into a type.
//! `error_for_status` turns a refusal into an error of the kind `Status`. Without it, `json` would try to read a
//! receipt from the text of the refusal.

use inflight::{Error, Session};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Order<'a> {
    item: &'a str,
    quantity: u32,
}

/// The fields of the response that the program needs. `json` ignores the other fields.
#[derive(Deserialize)]
struct Receipt {
    number: u32,
}

/// Orders an item and returns the number of the receipt.
pub async fn order(session: &Session, item: &str, quantity: u32) -> Result<u32, Error> {
    let order = Order { item, quantity };
    let request = session.post("http://shop.test/orders").json_body(&order);
    let response = request.send().await?.error_for_status()?;
    let receipt: Receipt = response.json().await?;
    Ok(receipt.number)
}
