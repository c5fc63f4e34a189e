//! Models of [`FairSemaphore`]: its permits, their order, and unread responses.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use loom::sync::Mutex;
use loom::thread;

use super::{explore, join, spawn};
use crate::session::fair_semaphore::{Acquire, FairSemaphore, Permit};
use crate::sync::AtomicUsize;

async fn permit(mut acquire: Acquire) -> Permit {
    poll_fn(|cx| acquire.poll(cx)).await
}

fn poll_once(acquire: &mut Acquire) -> Poll<Permit> {
    acquire.poll(&mut Context::from_waker(Waker::noop()))
}

/// Takes a permit that must be free.
fn free_permit(semaphore: &Arc<FairSemaphore>) -> Permit {
    match poll_once(&mut Acquire::new(semaphore)) {
        Poll::Ready(permit) => permit,
        Poll::Pending => panic!("no permit is free"),
    }
}

/// Adds a waiter to the queue.
fn queued(semaphore: &Arc<FairSemaphore>) -> Acquire {
    let mut acquire = Acquire::new(semaphore);
    assert!(poll_once(&mut acquire).is_pending());
    acquire
}

/// Checks that all permits are free and that there are no others.
fn check_free(semaphore: &Arc<FairSemaphore>, permits: usize) {
    let taken: Vec<_> = (0..permits).map(|_| free_permit(semaphore)).collect();
    drop(queued(semaphore));
    drop(taken);
}

/// Lets `threads` threads take one of `permits` permits each.
fn contend(permits: usize, threads: usize) {
    let semaphore = FairSemaphore::new(permits);
    let held = Arc::new(AtomicUsize::new(0));
    let holders: Vec<_> = (0..threads)
        .map(|_| {
            let (acquire, held) = (Acquire::new(&semaphore), held.clone());
            spawn(async move {
                let permit = permit(acquire).await;
                assert!(held.fetch_add(1, Ordering::SeqCst) < permits);
                held.fetch_sub(1, Ordering::SeqCst);
                drop(permit);
            })
        })
        .collect();
    holders.into_iter().for_each(join);
    check_free(&semaphore, permits);
}

#[test]
fn one_permit_is_held_once() {
    explore("two threads share one permit, and no wake is lost", || {
        contend(1, 2)
    });
}

#[test]
fn two_permits_are_held_twice() {
    explore(
        "three threads share two permits, and no wake is lost",
        || contend(2, 3),
    );
}

#[test]
fn permits_are_granted_in_order() {
    explore("permits are granted in the order of arrival", || {
        let semaphore = FairSemaphore::new(1);
        let held = free_permit(&semaphore);
        let order = Arc::new(Mutex::new(Vec::new()));
        let waiters = [queued(&semaphore), Acquire::new(&semaphore)];
        let threads: Vec<_> = (0..)
            .zip(waiters)
            .map(|(number, acquire)| {
                let order = order.clone();
                spawn(async move {
                    let permit = permit(acquire).await;
                    order.lock().unwrap().push(number);
                    drop(permit);
                })
            })
            .collect();
        drop(held);
        threads.into_iter().for_each(join);
        assert_eq!(*order.lock().unwrap(), [0, 1]);
        check_free(&semaphore, 1);
    });
}

#[test]
fn a_cancelled_waiter_passes_its_permit_on() {
    explore(
        "a waiter that is dropped while it is granted a permit passes it on",
        || {
            let semaphore = FairSemaphore::new(1);
            let held = free_permit(&semaphore);
            let (first, second) = (queued(&semaphore), queued(&semaphore));
            let cancelled = thread::spawn(move || drop(first));
            let granted = spawn(async move { drop(permit(second).await) });
            drop(held);
            join(cancelled);
            join(granted);
            check_free(&semaphore, 1);
        },
    );
}

/// Waits until unread responses hold all permits.
async fn until_stuck(mut acquire: Acquire) {
    poll_fn(|cx| {
        assert!(acquire.poll(cx).is_pending());
        match acquire.stuck_since() {
            Some(_) => Poll::Ready(()),
            None => Poll::Pending,
        }
    })
    .await;
}

#[test]
fn the_first_waiter_learns_of_unread_responses() {
    explore(
        "the first waiter is woken when unread responses hold all permits",
        || {
            let semaphore = FairSemaphore::new(1);
            let mut held = free_permit(&semaphore);
            let (first, second) = (queued(&semaphore), queued(&semaphore));
            let cancelled = thread::spawn(move || drop(first));
            let waiter = spawn(until_stuck(second));
            held.mark_unread(Instant::now());
            join(cancelled);
            join(waiter);
            held.mark_read();
            drop(held);
            check_free(&semaphore, 1);
        },
    );
}
