//! Writes pickles of protocol 2, an opcode at a time.

use std::collections::BTreeMap;
use std::io::{self, Write};

/// A pickle that is being written. Strings and classes are written once and remembered.
pub(crate) struct Pickle<W> {
    out: W,
    memo: BTreeMap<String, u32>,
}

impl<W: Write> Pickle<W> {
    pub(crate) fn new(mut out: W) -> io::Result<Pickle<W>> {
        // PROTO
        out.write_all(b"\x80\x02")?;
        Ok(Pickle {
            out,
            memo: BTreeMap::new(),
        })
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        // STOP
        self.out.write_all(b".")?;
        self.out.flush()
    }

    /// What an earlier `write` of this key wrote, or else what this one writes.
    fn remembered(
        &mut self,
        key: String,
        write: impl FnOnce(&mut W) -> io::Result<()>,
    ) -> io::Result<()> {
        if let Some(number) = self.memo.get(&key) {
            return match u8::try_from(*number) {
                // BINGET, LONG_BINGET
                Ok(number) => self.out.write_all(&[b'h', number]),
                Err(_) => self.opcode(b'j', &number.to_le_bytes()),
            };
        }
        write(&mut self.out)?;
        let number = self.memo.len() as u32;
        self.memo.insert(key, number);
        match u8::try_from(number) {
            // BINPUT, LONG_BINPUT
            Ok(number) => self.opcode(b'q', &[number]),
            Err(_) => self.opcode(b'r', &number.to_le_bytes()),
        }
    }

    fn opcode(&mut self, opcode: u8, argument: &[u8]) -> io::Result<()> {
        self.out.write_all(&[opcode])?;
        self.out.write_all(argument)
    }

    pub(crate) fn string(&mut self, string: &str) -> io::Result<()> {
        self.remembered(format!("\"{string}"), |out| {
            // BINUNICODE
            out.write_all(b"X")?;
            out.write_all(&(string.len() as u32).to_le_bytes())?;
            out.write_all(string.as_bytes())
        })
    }

    /// A class, a function or another object of a module.
    pub(crate) fn global(&mut self, module: &str, name: &str) -> io::Result<()> {
        let global = format!("{module}\n{name}\n");
        self.remembered(global.clone(), |out| {
            // GLOBAL
            out.write_all(b"c")?;
            out.write_all(global.as_bytes())
        })
    }

    pub(crate) fn none(&mut self) -> io::Result<()> {
        self.opcode(b'N', &[])
    }

    pub(crate) fn bool(&mut self, value: bool) -> io::Result<()> {
        // NEWTRUE, NEWFALSE
        self.opcode(if value { 0x88 } else { 0x89 }, &[])
    }

    pub(crate) fn int(&mut self, value: u64) -> io::Result<()> {
        if let Ok(byte) = u8::try_from(value) {
            // BININT1
            self.opcode(b'K', &[byte])
        } else if let Ok(value) = i32::try_from(value) {
            // BININT
            self.opcode(b'J', &value.to_le_bytes())
        } else {
            // LONG1, of 9 bytes, so that the sign is 0
            self.opcode(0x8a, &[9])?;
            self.out.write_all(&value.to_le_bytes())?;
            self.out.write_all(&[0])
        }
    }

    /// Items between opcodes.
    fn between(
        &mut self,
        begin: &[u8],
        items: impl FnOnce(&mut Self) -> io::Result<()>,
        end: u8,
    ) -> io::Result<()> {
        self.out.write_all(begin)?;
        items(self)?;
        self.opcode(end, &[])
    }

    pub(crate) fn tuple(
        &mut self,
        items: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        // MARK, TUPLE
        self.between(b"(", items, b't')
    }

    /// A tuple of integers.
    pub(crate) fn ints(&mut self, values: &[u64]) -> io::Result<()> {
        self.tuple(|pickle| values.iter().try_for_each(|value| pickle.int(*value)))
    }

    pub(crate) fn list(
        &mut self,
        items: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        // EMPTY_LIST, MARK, APPENDS
        self.between(b"](", items, b'e')
    }

    /// A dictionary, whose keys and values alternate.
    pub(crate) fn dict(
        &mut self,
        items: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        // EMPTY_DICT, MARK, SETITEMS
        self.between(b"}(", items, b'u')
    }

    /// Calls the function before with the tuple after it.
    pub(crate) fn reduce(&mut self) -> io::Result<()> {
        self.opcode(b'R', &[])
    }

    /// Asks the reader for the object that the tuple before names.
    pub(crate) fn persistent(&mut self) -> io::Result<()> {
        self.opcode(b'Q', &[])
    }

    /// An object of a class, made without arguments, and the state that it is given.
    pub(crate) fn object(
        &mut self,
        module: &str,
        class: &str,
        state: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        self.global(module, class)?;
        // EMPTY_TUPLE, NEWOBJ, BUILD
        self.between(b")\x81", state, b'b')
    }
}
