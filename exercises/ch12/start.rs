//! Chapter 12 (`docs/src/tutorial/ch12.md`): find the call that blocks.
//!
//! `handle` is the handler of a service. A function below `handle` blocks the thread of the event loop. The check
//! calls `handle` for some orders, with a probe, and prints the line that the probe reports. Change `handle` so that
//! the event loop continues. `runtime` is the runtime of the service. Clones of a `Database` share one connection.

use std::sync::Arc;
use std::time::Duration;

use inflight::backend::Runtime;

use crate::Database;

/// Responds to `GET /orders/{id}`.
pub async fn handle(runtime: &Arc<dyn Runtime>, database: &Database, order: u32) -> String {
    check_permission(runtime).await;
    format_order(database, order)
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
