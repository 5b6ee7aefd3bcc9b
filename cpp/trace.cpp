// Shows every ATen operation of a thread to callbacks, at the level at which Python's TorchDispatchMode sees them.
//
// A TorchDispatchMode needs an interpreter: c10::impl::PyInterpreterVTable. This one has no Python: `dispatch` calls the callbacks
// and the operation. Follows torch/csrc/PyInterpreter.cpp and torch/utils/_python_dispatch.py, PyTorch 2.13.

#include "argument.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/SequenceNumber.h>
#include <ATen/Version.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/_int_mm.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/impl/PyInterpreter.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/utils/torch_dispatch_mode.h>
#include <torch/headeronly/version.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstring>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

using c10::IValue;
using c10::OperatorHandle;

// The structs are those of src/trace/mode.rs.

struct Tensor {
  const at::Tensor* tensor;
  // The same for the same tensor, as long as it lives.
  const void* identity;
  const char* dtype;
  // The layout, if the elements cannot be read.
  const char* opaque;
  // Null for the CPU.
  const char* device;
  const int64_t* sizes;
  const int64_t* strides;
  int64_t dimensions;
  int64_t offset;
  // The number of the storage.
  uint64_t storage;
  uint64_t element_size;
  int is_contiguous;
};

enum Tag { None, Bool, Int, Double, Complex, Text, ListBegin, ListEnd, IsTensor, IsGenerator, Object };

struct Value {
  int tag;
  int64_t integer;
  double real;
  double imaginary;
  const char* text;
  const Tensor* tensor;
};

struct Call {
  const char* name;
  const char* overload;
  const char* node;
  // The name of the parameter's storage follows from it; null outside of the accumulation of a gradient.
  const Tensor* accumulated;
  uint64_t sequence;
  // Of the backward node; 0 if there is none.
  uint64_t node_sequence;
  uint64_t returns;
  int is_backward;
  // 0: gradients are recorded; 1: no_grad; 2: inference mode.
  int grad;
  int draws;
};

struct Callbacks {
  int (*begins)(void* recorder, const Call* call);
  // Returns whether the operation writes the argument.
  int (*argument)(void* recorder, const char* name, int is_keyword_only, int is_written);
  void (*value)(void* recorder, const Value* value);
  // Before and after a draw.
  void (*generator)(void* recorder, const uint8_t* state, size_t length);
  void (*calls)(void* recorder);
  void (*returned)(void* recorder);
  // `index` is that of a list, or -1. The tensor follows as a value.
  void (*written)(void* recorder, const char* argument, int64_t index);
  void (*ends)(void* recorder);
  void (*failed)(void* recorder, const char* message);
};

struct StorageNumber {
  c10::weak_intrusive_ptr<c10::StorageImpl> storage;
  uint64_t number;
};

// What is fixed for a recording.
struct Recorder {
  Callbacks callbacks;
  void* recorder;
  std::unordered_map<const c10::StorageImpl*, StorageNumber> storages;
  uint64_t next_storage = 0;
  size_t storages_limit = 4096;
  // The logical elements of the tensor that was read last.
  at::Tensor elements;
  // The memory of elements that are not as in the memory of their tensor.
  at::Tensor copies;
  // The device of the tensor that was described last on demand.
  std::string device;
};

// One recording for each thread.
thread_local Recorder* active = nullptr;

// PyTorch's name of a dtype. It lives as long as the thread.
const char* dtype_name(at::ScalarType type) {
  thread_local std::unordered_map<at::ScalarType, std::string> names;
  const auto [entry, is_new] = names.try_emplace(type);
  if (is_new) entry->second = c10::getDtypeNames(type).first;
  return entry->second.c_str();
}

uint64_t storage_number(Recorder& r, const at::Tensor& t) {
  auto* storage = t.storage().unsafeGetStorageImpl();
  auto found = r.storages.find(storage);
  if (found != r.storages.end() && !found->second.storage.expired()) return found->second.number;
  if (r.storages.size() >= r.storages_limit) {
    for (auto entry = r.storages.begin(); entry != r.storages.end();) {
      entry = entry->second.storage.expired() ? r.storages.erase(entry) : std::next(entry);
    }
    r.storages_limit = std::max<size_t>(4096, 2 * r.storages.size());
  }
  auto weak = c10::weak_intrusive_ptr<c10::StorageImpl>(
      c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(storage));
  r.storages.insert_or_assign(storage, StorageNumber{std::move(weak), r.next_storage});
  return r.next_storage++;
}

// What a value of a list of numbers and names means.
c10::TypeKind kind_of(c10::TypePtr type) {
  for (;;) {
    if (auto optional = type->cast<c10::OptionalType>()) {
      type = optional->getElementType();
    } else if (auto list = type->cast<c10::ListType>()) {
      type = list->getElementType();
    } else {
      return type->kind();
    }
  }
}

void show_tensor(Recorder& r, const at::Tensor& t, bool is_argument);

void show(Recorder& r, const Value& value) { r.callbacks.value(r.recorder, &value); }

void show_text(Recorder& r, const std::string& text) {
  Value value{};
  value.tag = Text;
  value.text = text.c_str();
  show(r, value);
}

void show_scalar(Recorder& r, const at::Scalar& scalar) {
  Value value{};
  if (scalar.isBoolean()) {
    value.tag = Bool;
    value.integer = scalar.toBool();
  } else if (scalar.isIntegral(false)) {
    value.tag = Int;
    value.integer = scalar.toLong();
  } else if (scalar.isFloatingPoint()) {
    value.tag = Double;
    value.real = scalar.toDouble();
  } else {
    const auto complex = scalar.toComplexDouble();
    value.tag = Complex;
    value.real = complex.real();
    value.imaginary = complex.imag();
  }
  show(r, value);
}

void show_value(Recorder& r, const IValue& v, c10::TypeKind kind, bool is_argument) {
  Value value{};
  if (v.isNone()) {
    value.tag = None;
  } else if (v.isTensor()) {
    return show_tensor(r, v.toTensor(), is_argument);
  } else if (v.isBool()) {
    value.tag = Bool;
    value.integer = v.toBool();
  } else if (v.isInt() || v.isSymInt()) {
    const int64_t i = v.isInt() ? v.toInt() : v.toSymInt().guard_int(__FILE__, __LINE__);
    // Python shows these by name.
    switch (kind) {
      case c10::TypeKind::ScalarTypeType: return show_text(r, dtype_name(static_cast<at::ScalarType>(i)));
      case c10::TypeKind::LayoutType: return show_text(r, word_of(LAYOUTS, static_cast<at::Layout>(i)));
      case c10::TypeKind::MemoryFormatType: return show_text(r, word_of(MEMORY_FORMATS, static_cast<at::MemoryFormat>(i)));
      default: break;
    }
    value.tag = Int;
    value.integer = i;
  } else if (v.isDouble()) {
    value.tag = Double;
    value.real = v.toDouble();
  } else if (v.isScalar()) {
    return show_scalar(r, v.toScalar());
  } else if (v.isString()) {
    return show_text(r, v.toStringRef());
  } else if (v.isDevice()) {
    return show_text(r, v.toDevice().str());
  } else if (v.isGenerator()) {
    const std::string device = v.toGenerator().device().str();
    value.tag = IsGenerator;
    value.text = device.c_str();
    return show(r, value);
  } else if (v.isList() || v.isTuple()) {
    value.tag = ListBegin;
    show(r, value);
    if (v.isTuple()) {
      for (const auto& item : v.toTupleRef().elements()) show_value(r, item, kind, is_argument);
    } else {
      for (const IValue item : v.toListRef()) show_value(r, item, kind, is_argument);
    }
    value.tag = ListEnd;
  } else {
    const std::string name = v.tagKind();
    value.tag = Object;
    value.text = name.c_str();
    return show(r, value);
  }
  show(r, value);
}

// `device` keeps the text.
Tensor describe(Recorder& r, const at::Tensor& t, std::string& device) {
  Tensor described{};
  described.tensor = &t;
  described.identity = t.unsafeGetTensorImpl();
  described.dtype = dtype_name(t.scalar_type());
  described.sizes = t.sizes().data();
  described.dimensions = t.dim();
  if (!t.device().is_cpu()) {
    device = t.device().str();
    described.device = device.c_str();
  }
  if (t.layout() != at::kStrided || t.is_quantized() || !t.has_storage() ||
      !(t.device().is_cpu() || t.device().is_cuda())) {
    described.opaque = word_of(LAYOUTS, t.layout());
  } else {
    described.strides = t.strides().data();
    described.offset = t.storage_offset();
    described.storage = storage_number(r, t);
    described.element_size = t.element_size();
    described.is_contiguous = t.is_contiguous();
  }
  return described;
}

void show_tensor(Recorder& r, const at::Tensor& t, bool is_argument) {
  Value value{};
  if (!t.defined()) {
    value.tag = None;
    return show(r, value);
  }
  // Python's modes see the number that this was made of.
  if (is_argument && t.unsafeGetTensorImpl()->is_wrapped_number()) return show_scalar(r, t.item());
  std::string device;
  const Tensor described = describe(r, t, device);
  value.tag = IsTensor;
  value.tensor = &described;
  show(r, value);
}

void show_generator(Recorder& r, const std::optional<at::Generator>& given) {
  auto generator = given.has_value() && given->defined() ? *given : at::detail::getDefaultCPUGenerator();
  at::Tensor state;
  {
    std::lock_guard<std::mutex> lock(generator.mutex());
    state = generator.get_state();
  }
  r.callbacks.generator(r.recorder, state.const_data_ptr<uint8_t>(), state.nbytes());
}

struct Written {
  std::string argument;
  int64_t index;
  at::Tensor tensor;
};

void record(Recorder& r, const OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  Call call{};
  call.name = schema.name().c_str();
  call.overload = schema.overload_name().c_str();
  call.returns = schema.returns().size();
  call.draws = op.hasTag(at::Tag::nondeterministic_seeded);
  call.sequence = at::sequence_number::peek();
  call.grad = c10::InferenceMode::is_enabled() ? 2 : at::GradMode::is_enabled() ? 0 : 1;
  const auto node = torch::autograd::get_current_node();
  call.is_backward = node != nullptr || torch::autograd::get_current_graph_task_id() != -1;
  std::string node_name;
  if (node != nullptr) {
    node_name = node->name();
    call.node = node_name.c_str();
    call.node_sequence = node->sequence_nr() + 1;
  }
  std::string device;
  Tensor accumulated{};
  if (auto* accumulate = dynamic_cast<torch::autograd::AccumulateGrad*>(node.get());
      accumulate != nullptr && accumulate->variable.defined()) {
    accumulated = describe(r, accumulate->variable, device);
    call.accumulated = &accumulated;
  }
  const int is_recorded = r.callbacks.begins(r.recorder, &call);
  if (is_recorded == 0) {
    op.callBoxed(stack);
    return;
  }
  const auto& declared = schema.arguments();
  std::vector<Written> written;
  std::optional<at::Generator> generator;
  {
    const auto arguments = torch::jit::last(*stack, declared.size());
    for (size_t i = 0; i < declared.size(); i++) {
      const auto& argument = declared[i];
      const auto& value = arguments[i];
      const auto* alias = argument.alias_info();
      const bool writes = alias != nullptr && alias->isWrite();
      const bool is_written =
          r.callbacks.argument(r.recorder, argument.name().c_str(), argument.kwarg_only(), writes) != 0;
      show_value(r, value, kind_of(argument.real_type()), true);
      if (is_written && value.isTensor() && value.toTensor().defined()) {
        written.push_back({argument.name(), -1, value.toTensor()});
      } else if (is_written && value.isTensorList()) {
        int64_t index = 0;
        for (const at::Tensor& t : value.toTensorVector()) written.push_back({argument.name(), index++, t});
      }
      if (value.isGenerator()) generator = value.toGenerator();
    }
  }
  if (call.draws) show_generator(r, generator);
  r.callbacks.calls(r.recorder);
  try {
    op.callBoxed(stack);
  } catch (const c10::Error& error) {
    r.callbacks.failed(r.recorder, error.what_without_backtrace());
    throw;
  } catch (const std::exception& error) {
    r.callbacks.failed(r.recorder, error.what());
    throw;
  }
  // The operation may have ended the recording.
  if (active != &r) return;
  r.callbacks.returned(r.recorder);
  for (const auto& result : torch::jit::last(*stack, schema.returns().size())) {
    show_value(r, result, c10::TypeKind::TensorType, false);
  }
  for (const auto& change : written) {
    r.callbacks.written(r.recorder, change.argument.c_str(), change.index);
    show_tensor(r, change.tensor, false);
  }
  if (call.draws) show_generator(r, generator);
  r.callbacks.ends(r.recorder);
}

[[noreturn]] void unsupported() { TORCH_CHECK(false, "a trace has no Python objects"); }

struct Table final : c10::impl::PyInterpreterVTable {
  using T = c10::TensorImpl;
  std::string name() const override { return "tch-init trace"; }
  void incref(PyObject*) const override {}
  void decref(PyObject*) const override {}
  bool try_incref(const c10::impl::PyObjectSlot&) const override { return false; }
  size_t refcnt(PyObject*) const override { return 1; }
  // Null: the tensor is copied as without a mode.
  c10::intrusive_ptr<T> detach(const T*) const override { return {}; }
  void dispatch(const OperatorHandle& op, torch::jit::Stack* stack) const override {
    torch::torch_dispatch_mode::StashTorchDispatchModeGuard stashed;
    if (active == nullptr) {
      op.callBoxed(stack);
    } else {
      record(*active, op, stack);
    }
  }
  void reportErrorCallback(PyObject*, c10::DispatchKey) const override {}
  void python_op_registration_trampoline(const OperatorHandle&, c10::DispatchKey, c10::DispatchKeySet,
                                         torch::jit::Stack*, bool, bool) const override { unsupported(); }
  void throw_abstract_impl_not_imported_error(std::string, const char*, const char*) const override { unsupported(); }
  void python_dispatcher(const OperatorHandle&, c10::DispatchKeySet, torch::jit::Stack*) const override { unsupported(); }
  bool is_contiguous(const T*, at::MemoryFormat) const override { unsupported(); }
  c10::SymBool sym_is_contiguous(const T*, at::MemoryFormat) const override { unsupported(); }
  bool is_strides_like(const T*, at::MemoryFormat) const override { unsupported(); }
  bool is_non_overlapping_and_dense(const T*) const override { unsupported(); }
  c10::Device device(const T*) const override { unsupported(); }
  int64_t dim(const T*) const override { unsupported(); }
  c10::IntArrayRef strides(const T*) const override { unsupported(); }
  c10::IntArrayRef sizes(const T*) const override { unsupported(); }
  c10::SymIntArrayRef sym_sizes(const T*) const override { unsupported(); }
  c10::Layout layout(const T*) const override { unsupported(); }
  int64_t numel(const T*) const override { unsupported(); }
  c10::SymInt sym_numel(const T*) const override { unsupported(); }
  c10::SymIntArrayRef sym_strides(const T*) const override { unsupported(); }
  c10::SymInt sym_storage_offset(const T*) const override { unsupported(); }
  void trace_gpu_event_creation(c10::DeviceType, uintptr_t) const override {}
  void trace_gpu_event_deletion(c10::DeviceType, uintptr_t) const override {}
  void trace_gpu_event_record(c10::DeviceType, uintptr_t, uintptr_t) const override {}
  void trace_gpu_event_wait(c10::DeviceType, uintptr_t, uintptr_t) const override {}
  void trace_gpu_memory_allocation(c10::DeviceType, uintptr_t) const override {}
  void trace_gpu_memory_deallocation(c10::DeviceType, uintptr_t) const override {}
  void trace_gpu_stream_creation(c10::DeviceType, uintptr_t) const override {}
  void trace_gpu_device_synchronization(c10::DeviceType) const override {}
  void trace_gpu_stream_synchronization(c10::DeviceType, uintptr_t) const override {}
  void trace_gpu_event_synchronization(c10::DeviceType, uintptr_t) const override {}
  void reset_backward_hooks(const T*) const override {}
};

c10::impl::PyInterpreter* interpreter() {
  // libtorch keeps pointers to it until the process ends.
  static auto* interpreter = new c10::impl::PyInterpreter(new Table);
  return interpreter;
}

// ------------------------------------------------------------ hashes

// crates/op-trace/src/hash.rs says what these sums are.
constexpr size_t ROW = 8192;
constexpr size_t WORDS = ROW / 4;
constexpr uint32_t HIGHEST = 0x80808080;

constexpr size_t LANES = 8;

// Adds the products of LANES words and their keys to one sum for each lane: of the words that begin at byte 0, at byte 1, 2 and 3.
inline void add_products(const uint8_t* bytes, const uint32_t* keys, uint32_t (*sums)[LANES]) {
  for (size_t j = 0; j < 4; j++) {
    uint32_t words[LANES];
    std::memcpy(words, bytes + j, sizeof(words));
    for (size_t lane = 0; lane < LANES; lane++) sums[j][lane] += ((words[lane] ^ HIGHEST) - HIGHEST) * keys[j * WORDS + lane];
  }
}

void row_sums(const uint8_t* row, const uint32_t* keys, uint32_t* sums) {
  // Independent sums, which the processor adds at once.
  uint32_t lanes[4][LANES] = {};
  constexpr size_t LAST = WORDS - LANES;
  for (size_t i = 0; i < LAST; i += LANES) add_products(row + 4 * i, keys + i, lanes);
  // What follows the row counts zero times, but must not be read.
  uint8_t last[4 * LANES + 3] = {};
  std::memcpy(last, row + 4 * LAST, 4 * LANES);
  add_products(last, keys + LAST, lanes);
  for (size_t j = 0; j < 4; j++) {
    sums[j] = 0;
    for (const uint32_t lane : lanes[j]) sums[j] += lane;
  }
}

#if defined(__x86_64__) && defined(__GNUC__)
#define TCH_INIT_AVX2

// Of N rows at once, which share the keys. The constants make up for the bytes that are not signed yet.
template <size_t N>
__attribute__((target("avx2"))) inline void add_products_avx2(const uint8_t* bytes, size_t stride, const uint32_t* keys, __m256i* sums) {
  const __m256i highest = _mm256_set1_epi32(static_cast<int>(HIGHEST));
#pragma GCC unroll 4
  for (size_t j = 0; j < 4; j++) {
    const __m256i key = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(keys + j * WORDS));
#pragma GCC unroll 2
    for (size_t n = 0; n < N; n++) {
      const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + n * stride + j));
      const __m256i products = _mm256_mullo_epi32(_mm256_xor_si256(words, highest), key);
      sums[4 * n + j] = _mm256_add_epi32(sums[4 * n + j], products);
    }
  }
}

template <size_t N>
__attribute__((target("avx2"))) void row_sums_avx2(const uint8_t* rows, const uint32_t* keys, const uint32_t* constants, uint32_t* sums) {
  __m256i lanes[4 * N];
#pragma GCC unroll 8
  for (size_t k = 0; k < 4 * N; k++) lanes[k] = _mm256_setzero_si256();
  constexpr size_t LAST = WORDS - LANES;
  for (size_t i = 0; i < LAST; i += LANES) add_products_avx2<N>(rows + 4 * i, ROW, keys + i, lanes);
  uint8_t last[N][4 * LANES + 3] = {};
  for (size_t n = 0; n < N; n++) std::memcpy(last[n], rows + n * ROW + 4 * LAST, 4 * LANES);
  add_products_avx2<N>(last[0], sizeof(last[0]), keys + LAST, lanes);
#pragma GCC unroll 8
  for (size_t k = 0; k < 4 * N; k++) {
    uint32_t parts[LANES];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(parts), lanes[k]);
    sums[k] = constants[k % 4];
    for (const uint32_t part : parts) sums[k] += part;
  }
}
#endif

}  // namespace

extern "C" {

// Begins a recording of this thread, or fails if one is under way.
char* tch_init_trace_begin(const Callbacks* callbacks, void* recorder) {
  return guarded([&] {
    TORCH_CHECK(active == nullptr, "this thread is recorded already");
    auto mode = std::make_shared<c10::impl::PyObject_TorchDispatchMode>(nullptr, interpreter());
    auto created = std::make_unique<Recorder>();
    created->callbacks = *callbacks;
    created->recorder = recorder;
    c10::impl::TorchDispatchModeTLS::push_non_infra_mode_onto_stack(std::move(mode));
    active = created.release();
  });
}

// Ends the recording of this thread.
char* tch_init_trace_end() {
  return guarded([&] {
    if (active == nullptr) return;
    delete std::exchange(active, nullptr);
    c10::impl::TorchDispatchModeTLS::pop_stack();
  });
}

// Describes a tensor of the program. The texts are valid until the next call.
char* tch_init_trace_describe(const at::Tensor* tensor, Tensor* out) {
  return guarded([&] {
    TORCH_CHECK(active != nullptr, "no recording is under way");
    *out = describe(*active, *tensor, active->device);
  });
}

// The number of the storage of a tensor's gradient; -1 if it has none.
char* tch_init_trace_gradient(const at::Tensor* tensor, int64_t* out) {
  return guarded([&] {
    *out = -1;
    const auto& gradient = tensor->grad();
    if (active != nullptr && gradient.defined() && gradient.layout() == at::kStrided && gradient.has_storage()) {
      *out = static_cast<int64_t>(storage_number(*active, gradient));
    }
  });
}

// The logical elements of a tensor, in row-major order. The memory is valid until the next call.
char* tch_init_trace_elements(const at::Tensor* tensor, const void** data, size_t* length) {
  return guarded([&] {
    TORCH_CHECK(active != nullptr, "no recording is under way");
    torch::torch_dispatch_mode::StashTorchDispatchStackGuard stashed;
    at::NoGradGuard no_grad;
    at::Tensor elements = tensor->detach();
    if (elements.is_conj() || elements.is_neg()) elements = elements.resolve_conj().resolve_neg();
    if (!elements.device().is_cpu()) elements = elements.contiguous().cpu();
    if (!elements.is_contiguous()) {
      // Into memory of an earlier copy: new memory would cost more than the copy.
      auto& copies = active->copies;
      const auto bytes = static_cast<int64_t>(elements.nbytes());
      if (!copies.defined() || copies.numel() < bytes) {
        // A tensor of inference mode could not be written outside of it.
        c10::InferenceMode normal(false);
        copies = at::empty({bytes}, at::kByte);
      }
      const at::Tensor copy = copies.narrow(0, 0, bytes).view(elements.scalar_type()).view(elements.sizes());
      elements = copy.copy_(elements);
    }
    *data = elements.numel() == 0 ? nullptr : elements.const_data_ptr();
    *length = elements.nbytes();
    active->elements = std::move(elements);
  });
}

// The memory of a tensor whose elements fill it in another order than row-major; null for others.
char* tch_init_trace_memory(const at::Tensor* tensor, const void** data, size_t* length) {
  return guarded([&] {
    *data = nullptr;
    *length = 0;
    if (!tensor->device().is_cpu() || tensor->is_conj() || tensor->is_neg() || tensor->is_contiguous() ||
        !tensor->is_non_overlapping_and_dense()) {
      return;
    }
    *data = tensor->const_data_ptr();
    *length = tensor->nbytes();
  });
}

// Four sums of each row of 8192 bytes, each with keys of its own, for which memory is read once.
void tch_init_trace_row_sums(const uint8_t* rows, size_t count, const uint32_t* keys, uint32_t* sums) {
#ifdef TCH_INIT_AVX2
  if (__builtin_cpu_supports("avx2")) {
    uint32_t constants[4] = {};
    for (size_t i = 0; i < 4 * WORDS; i++) constants[i / WORDS] -= HIGHEST * keys[i];
    for (; count >= 2; count -= 2, rows += 2 * ROW, sums += 8) row_sums_avx2<2>(rows, keys, constants, sums);
    for (; count >= 1; count--, rows += ROW, sums += 4) row_sums_avx2<1>(rows, keys, constants, sums);
    return;
  }
#endif
  for (; count > 0; count--, rows += ROW, sums += 4) row_sums(rows, keys, sums);
}

// The product of rows and a matrix of `columns` columns, all of int8.
char* tch_init_trace_matrix_product(const int8_t* rows, size_t count, const int8_t* matrix, size_t columns, int32_t* product) {
  return guarded([&] {
    torch::torch_dispatch_mode::StashTorchDispatchStackGuard stashed;
    at::AutoDispatchBelowADInplaceOrView below;
    const auto n = static_cast<int64_t>(count);
    const auto m = static_cast<int64_t>(columns);
    const auto size = static_cast<int64_t>(ROW);
    const auto a = at::from_blob(const_cast<int8_t*>(rows), {n, size}, at::kChar);
    const auto b = at::from_blob(const_cast<int8_t*>(matrix), {size, m}, at::kChar);
    auto out = at::from_blob(product, {n, m}, at::kInt);
    at::_int_mm_out(out, a, b);
  });
}

struct TraceEnvironment {
  const char* version;
  const char* default_dtype;
  const char* matmul_precision;
  int threads;
  int interop_threads;
  int deterministic;
  int mkldnn;
  int nnpack;
  int flash_sdp;
  int mem_efficient_sdp;
  int math_sdp;
};

// What the program runs in. The texts live as long as the thread.
char* tch_init_trace_environment(TraceEnvironment* out, char** capability) {
  return guarded([&] {
    auto& context = at::globalContext();
    out->version = TORCH_VERSION;
    out->default_dtype = dtype_name(c10::typeMetaToScalarType(c10::get_default_dtype()));
    switch (context.float32MatmulPrecision()) {
      case at::Float32MatmulPrecision::HIGHEST: out->matmul_precision = "highest"; break;
      case at::Float32MatmulPrecision::HIGH: out->matmul_precision = "high"; break;
      default: out->matmul_precision = "medium"; break;
    }
    out->threads = at::get_num_threads();
    out->interop_threads = at::get_num_interop_threads();
    out->deterministic = context.deterministicAlgorithms();
    out->mkldnn = at::hasMKLDNN() && context.userEnabledMkldnn();
    out->nnpack = context.userEnabledNNPACK();
    out->flash_sdp = context.userEnabledFlashSDP();
    out->mem_efficient_sdp = context.userEnabledMemEfficientSDP();
    out->math_sdp = context.userEnabledMathSDP();
    *capability = copy_of(at::get_cpu_capability().c_str());
  });
}

}  // extern "C"
