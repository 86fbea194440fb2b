// SPDX-License-Identifier: Apache-2.0
// A target with Rust frames: a generic function, a closure, a thread.
use std::{fmt::Debug, fs::File, thread, time::Duration};

#[inline(never)]
fn rest<T: Debug>(what: T) -> usize {
    File::create("ready").unwrap();
    loop {
        thread::sleep(Duration::from_secs(1000));
        if format!("{:?}", what).len() > 100 {
            return 1;
        }
    }
}

mod shop {
    #[inline(never)]
    pub fn open<F: Fn(u32) -> usize>(f: F) -> usize {
        f(7) + 1
    }
}

fn main() {
    let t = thread::spawn(|| shop::open(|n| rest((n, "x")) + 1));
    println!("{}", t.join().unwrap());
}
