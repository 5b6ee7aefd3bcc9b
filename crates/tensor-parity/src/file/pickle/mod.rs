//! Reads the pickles that `torch.save`, TorchScript and `tch` write, as containers and descriptions
//! of tensors. Nothing is called or imported.
//!
//! The accepted opcodes follow `torch/_weights_only_unpickler.py` of PyTorch 2.13, plus those of
//! protocols 4 and 5.

mod call;
mod global;
mod value;

use crate::file::error::Problem;
use global::Global;
use std::collections::HashMap;
use value::MAX_VALUES;
pub(super) use value::{Heap, Id, Tensor, Value};

/// The maximum length of a pickle. The elements of tensors are not part of it.
const MAX_LENGTH: usize = 1 << 26;

/// Runs a pickle and returns all its values and the index of the result.
pub(super) fn read(bytes: &[u8]) -> Result<(Heap<'_>, Id), Problem> {
    if bytes.len() > MAX_LENGTH {
        return Err(Problem::damaged(format!(
            "a pickle of {} bytes; the limit is {MAX_LENGTH}",
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
    let result = machine
        .run()
        .map_err(|problem| machine.input.locate(problem))?;
    Ok((machine.heap, result))
}

/// The stack machine that a pickle is a program of.
struct Machine<'a> {
    input: Input<'a>,
    heap: Heap<'a>,
    stack: Vec<Id>,
    /// The heights of the stack at each MARK.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

/// The opcodes, named as in Python's `pickle`.
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
    fn run(&mut self) -> Result<Id, Problem> {
        loop {
            let opcode = self.input.opcode()?;
            if opcode == op::STOP {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), Problem> {
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
                // A Python 2 str: text or bytes.
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
                let [key] = self.input.array()?;
                self.put(u32::from(key))
            }
            op::LONG_BINPUT => {
                let key = u32::from_le_bytes(self.input.array()?);
                self.put(key)
            }
            op::MEMOIZE => self.put(self.memo.len() as u32),
            op::BINGET => {
                let [key] = self.input.array()?;
                self.get(u32::from(key))
            }
            op::LONG_BINGET => {
                let key = u32::from_le_bytes(self.input.array()?);
                self.get(key)
            }

            op::GLOBAL => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                self.push_global(module, name)
            }
            op::STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.heap.get(module), self.heap.get(name)) {
                    (Value::Str(module), Value::Str(name)) => self.push_global(module, name),
                    _ => Err(Problem::damaged("STACK_GLOBAL without two strings")),
                }
            }
            op::NEWOBJ => {
                let (_arguments, class) = (self.pop()?, self.pop()?);
                match self.heap.get(class) {
                    Value::Global(Global::ScriptClass) => self.push(Value::Object(None)),
                    Value::Global(Global::OrderedDict) => self.push(Value::Dict(Vec::new())),
                    _ => Err(Problem::damaged("NEWOBJ of a value that is not a class")),
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
                    // Attributes of an OrderedDict, such as `state_dict()._metadata`, are not
                    // tensors.
                    Value::Dict(_) => {}
                    _ => return Err(Problem::damaged("BUILD of a value without attributes")),
                }
                Ok(())
            }
            op::BINPERSID => {
                let id = self.pop()?;
                let storage = call::storage(&self.heap, id)?;
                self.push(Value::Storage(Box::new(storage)))
            }
            other => Err(Problem::damaged(format!("unknown opcode {other:#04x}"))),
        }
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), Problem> {
        let id = self.heap.push(value)?;
        self.push_id(id)
    }

    fn push_id(&mut self, id: Id) -> Result<(), Problem> {
        if self.stack.len() >= MAX_VALUES {
            return Err(Problem::damaged(format!(
                "more than {MAX_VALUES} values on the stack"
            )));
        }
        self.stack.push(id);
        Ok(())
    }

    /// Pops a value above the innermost MARK.
    fn pop(&mut self) -> Result<Id, Problem> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > floor {
            true => self.stack.pop().ok_or_else(underflow),
            false => Err(underflow()),
        }
    }

    fn top(&mut self) -> Result<Id, Problem> {
        let id = self.pop()?;
        self.stack.push(id);
        Ok(id)
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, Problem> {
        let floor = self.marks.pop().ok_or_else(underflow)?;
        Ok(self.stack.split_off(floor))
    }

    fn tuple(&mut self, length: usize) -> Result<(), Problem> {
        let mut items = (0..length)
            .map(|_| self.pop())
            .collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.push(Value::Tuple(items))
    }

    fn push_str(&mut self, bytes: &'a [u8]) -> Result<(), Problem> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Problem::damaged("a string that is not UTF-8"))?;
        self.push(Value::Str(text))
    }

    fn opaque_bytes<const N: usize>(&mut self) -> Result<(), Problem> {
        self.input.sized::<N>()?;
        self.push_id(Heap::OPAQUE)
    }

    /// Pushes an integer in two's complement. Tensors need no integers of more than 64 bits.
    fn push_long(&mut self, digits: &[u8]) -> Result<(), Problem> {
        if digits.len() > 8 {
            return self.push_id(Heap::OPAQUE);
        }
        let negative = digits.last().is_some_and(|digit| *digit >= 0x80);
        let mut bytes = [if negative { 0xff } else { 0 }; 8];
        bytes[..digits.len()].copy_from_slice(digits);
        self.push(Value::Int(i64::from_le_bytes(bytes)))
    }

    fn push_global(&mut self, module: &str, name: &str) -> Result<(), Problem> {
        self.push(Value::Global(global::find(module, name)?))
    }

    fn extend(&mut self, items: &[Id]) -> Result<(), Problem> {
        let list = self.top()?;
        match self.heap.get_mut(list) {
            Value::List(list) => {
                list.extend_from_slice(items);
                Ok(())
            }
            _ => Err(Problem::damaged("APPEND to a value that is not a list")),
        }
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), Problem> {
        let (pairs, rest) = items.as_chunks::<2>();
        let dict = self.top()?;
        match self.heap.get_mut(dict) {
            Value::Dict(dict) if rest.is_empty() => {
                dict.extend(pairs.iter().map(|[key, value]| (*key, *value)));
                Ok(())
            }
            _ => Err(Problem::damaged("SETITEMS of a value that is not a dict")),
        }
    }

    fn put(&mut self, key: u32) -> Result<(), Problem> {
        let id = self.top()?;
        if self.memo.len() >= MAX_VALUES {
            return Err(Problem::damaged(format!(
                "more than {MAX_VALUES} memo entries"
            )));
        }
        self.memo.insert(key, id);
        Ok(())
    }

    fn get(&mut self, key: u32) -> Result<(), Problem> {
        match self.memo.get(&key).copied() {
            Some(id) => self.push_id(id),
            None => Err(Problem::damaged(format!(
                "memo entry {key} was never stored"
            ))),
        }
    }
}

fn underflow() -> Problem {
    Problem::damaged("an opcode that lacks its operands")
}

/// The bytes of a pickle and the position in them.
struct Input<'a> {
    bytes: &'a [u8],
    position: usize,
    /// The position of the current opcode.
    opcode: usize,
}

impl<'a> Input<'a> {
    fn new(bytes: &'a [u8]) -> Input<'a> {
        Input {
            bytes,
            position: 0,
            opcode: 0,
        }
    }

    /// Locates a problem at the current opcode.
    fn locate(&self, problem: Problem) -> Problem {
        problem.within(&format!("data.pkl at byte {}", self.opcode))
    }

    fn opcode(&mut self) -> Result<u8, Problem> {
        self.opcode = self.position;
        self.array().map(|[opcode]| opcode)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Problem> {
        let rest = &self.bytes[self.position..];
        let taken = rest.get(..length).ok_or_else(|| {
            Problem::damaged(format!(
                "the pickle is truncated: {length} bytes needed, {} remain",
                rest.len()
            ))
        })?;
        self.position += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// The bytes that follow their length, an integer of `N` bytes.
    fn sized<const N: usize>(&mut self) -> Result<&'a [u8], Problem> {
        let mut length = [0; 8];
        length[..N].copy_from_slice(self.take(N)?);
        self.take(usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX))
    }

    /// The text up to the end of the line.
    fn line(&mut self) -> Result<&'a str, Problem> {
        let rest = &self.bytes[self.position..];
        let length = rest.iter().position(|byte| *byte == b'\n');
        let line = length
            .and_then(|length| std::str::from_utf8(&rest[..length]).ok())
            .ok_or_else(|| Problem::damaged("a name that is not terminated or not UTF-8"))?;
        self.position += line.len() + 1;
        Ok(line)
    }
}
