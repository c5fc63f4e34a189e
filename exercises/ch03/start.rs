//! Chapter 3 (`docs/src/tutorial/ch03.md`): send JSON and read a typed response.
//!
//! The shop at `http://shop.test/orders` accepts orders such as `{"item": "cable", "quantity": 2}`. It responds with a
//! receipt such as `{"customer": 4711, "number": 17, "total_cents": 3150}`. If the shop refuses an order, the response
//! has the status 422.
//!
//! `order` sends a form and collects the digits of the response. Change it so that it sends JSON, and parses the
//! receipt into a type with the field `number`. To derive `Deserialize` for this type, import `serde::Deserialize`. If
//! the shop refuses the order, return an error of the kind `Status`.

use inflight::{Error, Session};
use serde::Serialize;

#[derive(Serialize)]
struct Order<'a> {
    item: &'a str,
    quantity: u32,
}

/// Orders an item and returns the number of the receipt.
pub async fn order(session: &Session, item: &str, quantity: u32) -> Result<u32, Error> {
    let order = Order { item, quantity };
    let request = session.post("http://shop.test/orders").form(&order);
    let text = request.text().await?;
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    Ok(digits.parse().unwrap_or(0))
}
