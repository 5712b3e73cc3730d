//! Faults that tests plant on purpose, to prove that the checks of the simulator can fail.
//!
//! Without the cargo feature `planted` the struct is empty and every answer is a constant `false`.

/// Which faults are planted; none by default.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Planted {
    /// A superblock is believed whatever its checksum says.
    #[cfg(feature = "planted")]
    pub accept_torn_superblock: bool,
    /// H2: adoption does not read the superblock again, and takes a ring block that does not fit
    /// for the end of the log.
    #[cfg(feature = "planted")]
    pub skip_reread: bool,
}

#[cfg(feature = "planted")]
impl Planted {
    pub(crate) const fn accept_torn_superblock(self) -> bool {
        self.accept_torn_superblock
    }

    pub(crate) const fn skip_reread(self) -> bool {
        self.skip_reread
    }
}

#[cfg(not(feature = "planted"))]
impl Planted {
    pub(crate) const fn accept_torn_superblock(self) -> bool {
        false
    }

    pub(crate) const fn skip_reread(self) -> bool {
        false
    }
}
