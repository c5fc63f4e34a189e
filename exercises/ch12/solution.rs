//! The probe reports the line with `recv`, in `load_price`. This function is not async, so it cannot wait without
//! blocking its thread. `unblock` runs `format_order`, and with it `load_price`, on the blocking pool. The closure may
//! run longer than the borrow of `database` lasts, so it owns a clone.

use std::sync::Arc;
use std::time::Duration;

use inflight::backend::Runtime;
use inflight::unblock;

use crate::Database;

/// Responds to `GET /orders/{id}`.
pub async fn handle(runtime: &Arc<dyn Runtime>, database: &Database, order: u32) -> String {
    check_permission(runtime).await;
    let database = database.clone();
    let formatted = unblock(runtime, move || format_order(&database, order));
    formatted.await.expect("`format_order` does not panic")
}

/// Waits for the answer of another service.
async fn check_permission(runtime: &Arc<dyn Runtime>) {
    runtime.sleep(Duration::from_millis(1)).await;
}

fn format_order(database: &Database, order: u32) -> String {
    let total = add_tax(load_price(database, order));
    format!("order {order}: {total} EUR")
}

fn add_tax(price: u32) -> u32 {
    price + price / 5
}

fn load_price(database: &Database, order: u32) -> u32 {
    let reply = database.query(order);
    reply.recv().expect("the database replies")
}
