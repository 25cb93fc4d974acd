//! Vector instruction sets of the processor, and a limit on them, so that tests run every code path that the machine supports.

/// Vector instruction sets; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vectors {
    /// None: scalar code.
    None,
    /// AVX2.
    Avx2,
    /// AVX-512.
    Avx512,
}

impl Vectors {
    /// This set, or the largest that the test on this thread allows.
    #[inline]
    pub fn allowed(self) -> Self {
        #[cfg(test)]
        return self.min(limit::LIMIT.get());
        #[cfg(not(test))]
        self
    }
}

#[cfg(test)]
pub use limit::with_each;

#[cfg(test)]
mod limit {
    use std::cell::Cell;

    use super::Vectors;

    thread_local! {
        pub(super) static LIMIT: Cell<Vectors> = const { Cell::new(Vectors::Avx512) };
    }

    /// Runs `check` with every set up to `best`.
    pub fn with_each(best: Vectors, check: impl Fn(Vectors)) {
        struct Reset;
        impl Drop for Reset {
            fn drop(&mut self) {
                LIMIT.set(Vectors::Avx512);
            }
        }
        let _reset = Reset;
        for set in [Vectors::None, Vectors::Avx2, Vectors::Avx512].into_iter().filter(|set| *set <= best) {
            LIMIT.set(set);
            check(set);
        }
    }
}
