//! A backend whose feature is missing.
//! error: the item is gated behind the `smol` feature

pub fn session() -> Result<inflight::Session, inflight::Error> {
    inflight::smol()?.session()
}
