//! A reader of the pickles that `torch.save`, TorchScript and `tch` write. It builds containers
//! and descriptions of tensors; it calls nothing and imports nothing.
//!
//! What is accepted follows `torch/_weights_only_unpickler.py` of PyTorch 2.13, with the opcodes
//! of protocol 4 and 5 beside those of 2.

mod call;
mod global;
mod input;
mod value;

use crate::file::error::Flaw;
use global::Global;
use input::Input;
use std::collections::HashMap;
use value::MAX_VALUES;
pub(super) use value::{Heap, Id, Tensor, Value};

/// A larger pickle holds something else than tensors, whose elements lie outside of it.
const MAX_LENGTH: usize = 1 << 26;

/// What the pickle says: all values, and which one is the whole.
pub(super) fn read(bytes: &[u8]) -> Result<(Heap<'_>, Id), Flaw> {
    if bytes.len() > MAX_LENGTH {
        return Err(Flaw::damaged(format!(
            "a pickle of {} bytes, more than {MAX_LENGTH} are not read",
            bytes.len()
        )));
    }
    let mut machine = Machine {
        input: Input::new(bytes),
        heap: Heap::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    let whole = machine.run().map_err(|flaw| machine.input.place(flaw))?;
    Ok((machine.heap, whole))
}

struct Machine<'a> {
    input: Input<'a>,
    heap: Heap<'a>,
    stack: Vec<Id>,
    /// Heights of the stack where a MARK stands.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

/// The opcodes, by the names of Python's `pickle`.
mod op {
    pub(super) const PROTO: u8 = 0x80;
    pub(super) const FRAME: u8 = 0x95;
    pub(super) const STOP: u8 = b'.';
    pub(super) const MARK: u8 = b'(';
    pub(super) const POP: u8 = b'0';
    pub(super) const POP_MARK: u8 = b'1';
    pub(super) const DUP: u8 = b'2';
    pub(super) const NONE: u8 = b'N';
    pub(super) const NEWTRUE: u8 = 0x88;
    pub(super) const NEWFALSE: u8 = 0x89;
    pub(super) const BININT: u8 = b'J';
    pub(super) const BININT1: u8 = b'K';
    pub(super) const BININT2: u8 = b'M';
    pub(super) const LONG1: u8 = 0x8a;
    pub(super) const LONG4: u8 = 0x8b;
    pub(super) const BINFLOAT: u8 = b'G';
    pub(super) const BINUNICODE: u8 = b'X';
    pub(super) const SHORT_BINUNICODE: u8 = 0x8c;
    pub(super) const BINUNICODE8: u8 = 0x8d;
    pub(super) const SHORT_BINSTRING: u8 = b'U';
    pub(super) const SHORT_BINBYTES: u8 = b'C';
    pub(super) const BINBYTES: u8 = b'B';
    pub(super) const BINBYTES8: u8 = 0x8e;
    pub(super) const BYTEARRAY8: u8 = 0x96;
    pub(super) const EMPTY_TUPLE: u8 = b')';
    pub(super) const TUPLE1: u8 = 0x85;
    pub(super) const TUPLE2: u8 = 0x86;
    pub(super) const TUPLE3: u8 = 0x87;
    pub(super) const TUPLE: u8 = b't';
    pub(super) const EMPTY_LIST: u8 = b']';
    pub(super) const APPEND: u8 = b'a';
    pub(super) const APPENDS: u8 = b'e';
    pub(super) const EMPTY_SET: u8 = 0x8f;
    pub(super) const ADDITEMS: u8 = 0x90;
    pub(super) const FROZENSET: u8 = 0x91;
    pub(super) const EMPTY_DICT: u8 = b'}';
    pub(super) const SETITEM: u8 = b's';
    pub(super) const SETITEMS: u8 = b'u';
    pub(super) const BINPUT: u8 = b'q';
    pub(super) const LONG_BINPUT: u8 = b'r';
    pub(super) const MEMOIZE: u8 = 0x94;
    pub(super) const BINGET: u8 = b'h';
    pub(super) const LONG_BINGET: u8 = b'j';
    pub(super) const GLOBAL: u8 = b'c';
    pub(super) const STACK_GLOBAL: u8 = 0x93;
    pub(super) const NEWOBJ: u8 = 0x81;
    pub(super) const REDUCE: u8 = b'R';
    pub(super) const BUILD: u8 = b'b';
    pub(super) const BINPERSID: u8 = b'Q';
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, Flaw> {
        loop {
            let opcode = self.input.opcode()?;
            if opcode == op::STOP {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), Flaw> {
        match opcode {
            op::PROTO => self.input.take(1).map(drop),
            op::FRAME => self.input.take(8).map(drop),
            op::MARK => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            op::POP => self.pop().map(drop),
            op::POP_MARK => self.pop_mark().map(drop),
            op::DUP => self.top().and_then(|id| self.push_id(id)),

            op::NONE => self.push_id(Heap::NONE),
            op::NEWTRUE => self.push_id(Heap::TRUE),
            op::NEWFALSE => self.push_id(Heap::FALSE),
            op::BININT => {
                let value = i32::from_le_bytes(self.input.array()?);
                self.push(Value::Int(i64::from(value)))
            }
            op::BININT1 => {
                let [value] = self.input.array()?;
                self.push(Value::Int(i64::from(value)))
            }
            op::BININT2 => {
                let value = u16::from_le_bytes(self.input.array()?);
                self.push(Value::Int(i64::from(value)))
            }
            op::LONG1 => {
                let digits = self.input.sized::<1>()?;
                self.push_long(digits)
            }
            op::LONG4 => {
                let digits = self.input.sized::<4>()?;
                self.push_long(digits)
            }
            op::BINFLOAT => {
                self.input.take(8)?;
                self.push_id(Heap::OPAQUE)
            }
            op::BINUNICODE => self.input.sized::<4>().and_then(|s| self.push_str(s)),
            op::SHORT_BINUNICODE => self.input.sized::<1>().and_then(|s| self.push_str(s)),
            op::BINUNICODE8 => self.input.sized::<8>().and_then(|s| self.push_str(s)),
            op::SHORT_BINSTRING => {
                // A str of Python 2: text or bytes.
                let bytes = self.input.sized::<1>()?;
                match std::str::from_utf8(bytes) {
                    Ok(text) => self.push(Value::Str(text)),
                    Err(_) => self.push_id(Heap::OPAQUE),
                }
            }
            op::SHORT_BINBYTES => self.opaque_bytes::<1>(),
            op::BINBYTES => self.opaque_bytes::<4>(),
            op::BINBYTES8 | op::BYTEARRAY8 => self.opaque_bytes::<8>(),

            op::EMPTY_TUPLE => self.push_id(Heap::EMPTY),
            op::TUPLE1 => self.tuple(1),
            op::TUPLE2 => self.tuple(2),
            op::TUPLE3 => self.tuple(3),
            op::TUPLE => {
                let items = self.pop_mark()?;
                self.push(Value::Tuple(items))
            }
            op::EMPTY_LIST | op::EMPTY_SET => self.push(Value::List(Vec::new())),
            op::FROZENSET => {
                let items = self.pop_mark()?;
                self.push(Value::List(items))
            }
            op::APPEND => {
                let item = self.pop()?;
                self.extend(&[item])
            }
            op::APPENDS | op::ADDITEMS => {
                let items = self.pop_mark()?;
                self.extend(&items)
            }
            op::EMPTY_DICT => self.push(Value::Dict(Vec::new())),
            op::SETITEM => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])
            }
            op::SETITEMS => {
                let items = self.pop_mark()?;
                self.set_items(&items)
            }

            op::BINPUT => {
                let [at] = self.input.array()?;
                self.put(u32::from(at))
            }
            op::LONG_BINPUT => {
                let at = u32::from_le_bytes(self.input.array()?);
                self.put(at)
            }
            op::MEMOIZE => self.put(self.memo.len() as u32),
            op::BINGET => {
                let [at] = self.input.array()?;
                self.get(u32::from(at))
            }
            op::LONG_BINGET => {
                let at = u32::from_le_bytes(self.input.array()?);
                self.get(at)
            }

            op::GLOBAL => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                self.push_global(module, name)
            }
            op::STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.heap.get(module), self.heap.get(name)) {
                    (Value::Str(module), Value::Str(name)) => self.push_global(module, name),
                    _ => Err(Flaw::damaged("STACK_GLOBAL without two strings")),
                }
            }
            op::NEWOBJ => {
                let (_arguments, class) = (self.pop()?, self.pop()?);
                match self.heap.get(class) {
                    Value::Global(Global::ScriptClass) => self.push(Value::Object(None)),
                    Value::Global(Global::OrderedDict) => self.push(Value::Dict(Vec::new())),
                    _ => Err(Flaw::damaged("NEWOBJ of something that is no class")),
                }
            }
            op::REDUCE => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let id = call::reduce(&mut self.heap, function, arguments)?;
                self.push_id(id)
            }
            op::BUILD => {
                let state = self.pop()?;
                let object = self.top()?;
                match self.heap.get_mut(object) {
                    Value::Object(attributes) => *attributes = Some(state),
                    // Attributes of an OrderedDict, as `state_dict()._metadata`: no tensors.
                    Value::Dict(_) => {}
                    _ => return Err(Flaw::damaged("BUILD of something without attributes")),
                }
                Ok(())
            }
            op::BINPERSID => {
                let id = self.pop()?;
                let storage = call::storage(&self.heap, id)?;
                self.push(Value::Storage(Box::new(storage)))
            }
            other => Err(Flaw::damaged(format!("unknown opcode {other:#04x}"))),
        }
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), Flaw> {
        let id = self.heap.push(value)?;
        self.push_id(id)
    }

    fn push_id(&mut self, id: Id) -> Result<(), Flaw> {
        if self.stack.len() >= MAX_VALUES {
            return Err(Flaw::damaged(format!(
                "more than {MAX_VALUES} values on the stack"
            )));
        }
        self.stack.push(id);
        Ok(())
    }

    /// Pops a value of the innermost MARK: those below belong to others.
    fn pop(&mut self) -> Result<Id, Flaw> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > floor {
            true => self.stack.pop().ok_or_else(underflow),
            false => Err(underflow()),
        }
    }

    fn top(&mut self) -> Result<Id, Flaw> {
        let id = self.pop()?;
        self.stack.push(id);
        Ok(id)
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, Flaw> {
        let floor = self.marks.pop().ok_or_else(underflow)?;
        Ok(self.stack.split_off(floor))
    }

    fn tuple(&mut self, length: usize) -> Result<(), Flaw> {
        let mut items = (0..length)
            .map(|_| self.pop())
            .collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.push(Value::Tuple(items))
    }

    fn push_str(&mut self, bytes: &'a [u8]) -> Result<(), Flaw> {
        let text =
            std::str::from_utf8(bytes).map_err(|_| Flaw::damaged("a string that is not UTF-8"))?;
        self.push(Value::Str(text))
    }

    fn opaque_bytes<const N: usize>(&mut self) -> Result<(), Flaw> {
        self.input.sized::<N>()?;
        self.push_id(Heap::OPAQUE)
    }

    /// An integer of any length, two's complement; no tensor needs one of more than 64 bits.
    fn push_long(&mut self, digits: &[u8]) -> Result<(), Flaw> {
        if digits.len() > 8 {
            return self.push_id(Heap::OPAQUE);
        }
        let negative = digits.last().is_some_and(|digit| *digit >= 0x80);
        let mut bytes = [if negative { 0xff } else { 0 }; 8];
        bytes[..digits.len()].copy_from_slice(digits);
        self.push(Value::Int(i64::from_le_bytes(bytes)))
    }

    fn push_global(&mut self, module: &str, name: &str) -> Result<(), Flaw> {
        self.push(Value::Global(global::find(module, name)?))
    }

    fn extend(&mut self, items: &[Id]) -> Result<(), Flaw> {
        let list = self.top()?;
        match self.heap.get_mut(list) {
            Value::List(list) => {
                list.extend_from_slice(items);
                Ok(())
            }
            _ => Err(Flaw::damaged("APPEND to something that is no list")),
        }
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), Flaw> {
        let (pairs, rest) = items.as_chunks::<2>();
        let dict = self.top()?;
        match self.heap.get_mut(dict) {
            Value::Dict(dict) if rest.is_empty() => {
                dict.extend(pairs.iter().map(|[key, value]| (*key, *value)));
                Ok(())
            }
            _ => Err(Flaw::damaged("SETITEMS of something that is no dict")),
        }
    }

    fn put(&mut self, at: u32) -> Result<(), Flaw> {
        let id = self.top()?;
        if self.memo.len() >= MAX_VALUES {
            return Err(Flaw::damaged(format!(
                "it remembers more than {MAX_VALUES} values"
            )));
        }
        self.memo.insert(at, id);
        Ok(())
    }

    fn get(&mut self, at: u32) -> Result<(), Flaw> {
        match self.memo.get(&at).copied() {
            Some(id) => self.push_id(id),
            None => Err(Flaw::damaged(format!(
                "it recalls value {at}, which it never put"
            ))),
        }
    }
}

fn underflow() -> Flaw {
    Flaw::damaged("an opcode without the values it takes")
}
