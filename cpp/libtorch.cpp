// The parts of libtorch that tch does not bind: at::Generator, draws from an explicit generator, the
// memory and identity of tensors, and facts about the library. Written against libtorch 2.13.
//
// No C++ exception reaches Rust. A function that can fail runs inside `guarded` and returns null, or a
// message that the caller frees with tch_init_free. All others are noexcept and call nothing that
// throws. Pointers to tensors are tch's own.

#include "argument.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/ScalarOps.h>
#include <ATen/Version.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/rsub.h>
#include <ATen/ops/sub.h>
#include <c10/core/TensorImpl.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <dlfcn.h>
#include <link.h>
#include <torch/csrc/autograd/function.h>
#include <torch/headeronly/version.h>
#include <torch/library.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <vector>

// libtorch 2.15 lacks this function, which code that was built with the headers of 2.13 calls where a number does not fit.
// libtorch 2.13's own has the same message (c10/util/TypeCast.cpp).
namespace c10 {
__attribute__((weak)) void report_overflow(const char* name) {
  throw std::runtime_error(
      std::string("value cannot be converted to type ") + name + " without overflow");
}
}  // namespace c10

namespace {

// Stores the path of libtorch_cpu.so, of the libraries of this process.
int find_libtorch(dl_phdr_info* info, size_t, void* path) {
  const std::string name = info->dlpi_name;
  const std::string file = "/libtorch_cpu.so";
  if (name.size() < file.size() || name.compare(name.size() - file.size(), file.size(), file) != 0) {
    return 0;
  }
  *static_cast<std::string*>(path) = name;
  return 1;
}

std::optional<at::Generator> optional(const at::Generator* generator) {
  if (generator == nullptr) {
    return std::nullopt;
  }
  return *generator;
}

// The state of a recording, during which a model is constructed without values.
struct Recording {
  // Storages without values. Holding them keeps their addresses unique.
  std::unordered_map<const c10::StorageImpl*, c10::Storage> blank;
  // The first operator that draws or needs values.
  std::string refused;
};

thread_local std::unique_ptr<Recording> recording;

// A dispatch key that intercepts every operator while it is included. Only libtorch's own tests use it.
constexpr auto kRecorded = c10::DispatchKey::TESTING_ONLY_GenericMode;

bool is_blank(const at::Tensor& tensor) {
  return recording != nullptr && tensor.defined() && tensor.has_storage() &&
      recording->blank.count(tensor.storage().unsafeGetStorageImpl()) != 0;
}

void make_blank(const at::Tensor& tensor) {
  if (recording != nullptr && tensor.defined() && tensor.has_storage()) {
    const auto& storage = tensor.storage();
    recording->blank.emplace(storage.unsafeGetStorageImpl(), storage);
  }
}

template <typename F>
void each_tensor(const c10::IValue& value, F f) {
  if (value.isTensor()) {
    f(value.toTensor());
  } else if (value.isTensorList() || value.isOptionalTensorList() || value.isList()) {
    for (const auto& item : value.toListRef()) {
      each_tensor(item, f);
    }
  }
}

// Whether an operator returns tensors without values.
bool makes_blank(const std::string& name) {
  static const std::unordered_set<std::string> names = {
      "aten::empty",         "aten::empty_like",     "aten::empty_permuted",
      "aten::empty_strided", "aten::new_empty",      "aten::new_empty_strided",
  };
  return names.count(name) != 0;
}

// Whether an operator reads only the shape and dtype of its arguments.
bool needs_no_values(const std::string& name) {
  static const std::unordered_set<std::string> names = {
      "aten::full_like", "aten::new_full", "aten::new_ones",   "aten::new_zeros",
      "aten::ones_like", "aten::zeros_like",
  };
  return names.count(name) != 0;
}

// Intercepts every operator of a thread that records. All of them run; one that draws, or reads or
// writes missing values other than by making a view, is reported when the recording ends.
void recorded(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  c10::impl::ExcludeDispatchKeyGuard unrecorded(kRecorded);
  const auto& schema = op.schema();
  const auto count = schema.arguments().size();
  bool reads_blank = false;
  for (const auto& argument : torch::jit::last(*stack, count)) {
    each_tensor(argument, [&](const at::Tensor& tensor) { reads_blank |= is_blank(tensor); });
  }
  reads_blank = reads_blank && !needs_no_values(schema.name());
  const bool makes = makes_blank(schema.name());
  const bool draws = op.hasTag(at::Tag::nondeterministic_seeded);
  op.callBoxed(stack);
  bool refused = draws || (reads_blank && !makes && schema.is_mutable());
  for (const auto& result : torch::jit::last(*stack, schema.returns().size())) {
    if (makes) {
      each_tensor(result, make_blank);
    } else if (reads_blank) {
      bool is_view = false;
      each_tensor(result, [&](const at::Tensor& tensor) { is_view = is_blank(tensor); });
      refused |= !is_view;
    }
  }
  if (refused && recording != nullptr && recording->refused.empty()) {
    recording->refused = schema.name();
  }
}

// Grants access to the private engine of a CPU generator: access checks do not apply to the arguments
// of an explicit instantiation ([temp.spec.general]). `engine()` and `set_engine()` would copy its
// 2.5 KB five times a draw.
template <typename Tag, typename Tag::Member member>
struct Access {
  friend typename Tag::Member member_of(Tag) { return member; }
};

struct Engine {
  using Member = at::mt19937 at::CPUGeneratorImpl::*;
  friend Member member_of(Engine);
};

template struct Access<Engine, &at::CPUGeneratorImpl::engine_>;

// The engine's only member, which therefore has the engine's address.
at::mt19937_data_pod& engine_of(at::CPUGeneratorImpl* generator) {
  static_assert(std::is_standard_layout_v<at::mt19937>);
  static_assert(sizeof(at::mt19937) == sizeof(at::mt19937_data_pod));
  return reinterpret_cast<at::mt19937_data_pod&>(generator->*member_of(Engine()));
}

template <typename T>
struct CachedNormal {
  T value;
  uint32_t is_cached;

  explicit CachedNormal(std::optional<T> normal)
      : value(normal.value_or(0)), is_cached(normal.has_value() ? 1 : 0) {}

  std::optional<T> get() const { return is_cached != 0 ? std::make_optional(value) : std::nullopt; }
};

// A CPU generator's state: `torch_rng::State`, whose documentation has the layout.
struct TchInitState {
  alignas(64) uint32_t words[at::MERSENNE_STATE_N];
  uint64_t initial_seed;
  uint32_t left;
  uint32_t next;
  CachedNormal<double> double_normal;
  CachedNormal<float> float_normal;
};

static_assert(sizeof(TchInitState) == 2560 && alignof(TchInitState) == 64);
static_assert(offsetof(TchInitState, initial_seed) == 2496);
static_assert(offsetof(TchInitState, double_normal) == 2512);
static_assert(offsetof(TchInitState, float_normal) == 2528);

// The contiguous elements of a CPU tensor, `ffi::CMemory` in Rust.
struct TchInitMemory {
  void* data;
  int64_t numel;
  // The sizes of `dim` dimensions, valid until the shape of the tensor changes.
  const int64_t* sizes;
  uint64_t dim;
  int dtype;
};

// Where a CPU tensor lies, `ffi::CStorage` in Rust.
struct TchInitStorage {
  // An address that all tensors of a storage share.
  const void* id;
  const void* data;
  uint64_t nbytes;
  // Of the tensor's first element, in elements.
  int64_t offset;
};

}  // namespace

extern "C" {

void tch_init_free(char* text) noexcept { std::free(text); }

// cuda < 0 means the CPU, otherwise the index of a CUDA device.
char* tch_init_generator_new(int cuda, at::Generator** out) {
  return guarded([&] {
    *out = new at::Generator(
        cuda < 0 ? at::detail::createCPUGenerator()
                 : at::globalContext()
                       .getAcceleratorHooksInterface(at::kCUDA)
                       .getNewGenerator(static_cast<c10::DeviceIndex>(cuda)));
  });
}

// A handle to the default generator, whose state it shares.
char* tch_init_generator_default(int cuda, at::Generator** out) {
  return guarded([&] {
    const auto device = cuda < 0
        ? at::Device(at::kCPU)
        : at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(cuda));
    *out = new at::Generator(at::globalContext().defaultGenerator(device));
  });
}

char* tch_init_generator_clone(at::Generator* generator, at::Generator** out) {
  return guarded([&] {
    std::lock_guard<std::mutex> lock(generator->mutex());
    *out = new at::Generator(generator->clone());
  });
}

// Another handle to the same generator.
char* tch_init_generator_share(const at::Generator* generator, at::Generator** out) {
  return guarded([&] { *out = new at::Generator(*generator); });
}

void tch_init_generator_free(at::Generator* generator) noexcept { delete generator; }

char* tch_init_generator_manual_seed(at::Generator* generator, uint64_t seed) {
  return guarded([&] {
    std::lock_guard<std::mutex> lock(generator->mutex());
    generator->set_current_seed(seed);
  });
}

char* tch_init_generator_initial_seed(at::Generator* generator, uint64_t* out) {
  return guarded([&] {
    std::lock_guard<std::mutex> lock(generator->mutex());
    *out = generator->current_seed();
  });
}

// Writes at most `capacity` bytes; `length` receives the size of the whole state.
char* tch_init_generator_get_state(
    at::Generator* generator, uint8_t* bytes, size_t capacity, size_t* length) {
  return guarded([&] {
    std::lock_guard<std::mutex> lock(generator->mutex());
    const at::Tensor state = generator->get_state().contiguous();
    *length = static_cast<size_t>(state.numel());
    std::memcpy(bytes, state.const_data_ptr(), std::min(capacity, *length));
  });
}

char* tch_init_generator_set_state(
    at::Generator* generator, const uint8_t* bytes, size_t length) {
  return guarded([&] {
    at::Tensor state = at::empty({static_cast<int64_t>(length)}, at::kByte);
    std::memcpy(state.mutable_data_ptr(), bytes, length);
    std::lock_guard<std::mutex> lock(generator->mutex());
    generator->set_state(state);
  });
}

// Exchanges the states of two generators of one device, which must not be the same one.
char* tch_init_generator_exchange(const at::Generator* a, const at::Generator* b) {
  return guarded([&] {
    at::Generator first = *a, second = *b;
    std::scoped_lock lock(first.mutex(), second.mutex());
    const at::Tensor state = first.get_state(), other = second.get_state();
    first.set_state(other);
    second.set_state(state);
  });
}

// Whether both are handles to one generator.
int tch_init_generator_same(const at::Generator* a, const at::Generator* b) noexcept {
  return *a == *b;
}

// Seeds the default generators of the CPU and of every accelerator that is loaded.
char* tch_init_manual_seed(uint64_t seed) {
  return guarded([&] { at::manual_seed(seed); });
}

// A null generator means the default one of the tensor's device.
char* tch_init_uniform_(
    at::Tensor* tensor, double from, double to, const at::Generator* generator) {
  return guarded([&] { tensor->uniform_(from, to, optional(generator)); });
}

char* tch_init_normal_(
    at::Tensor* tensor, double mean, double std, const at::Generator* generator) {
  return guarded([&] { tensor->normal_(mean, std, optional(generator)); });
}

// The memory of a tensor that is nothing but contiguous elements on the CPU: no wrapper, no lazy
// negation, no inference tensor. `out->data` is null for any other tensor.
char* tch_init_cpu_memory(const at::Tensor* tensor, TchInitMemory* out) {
  return guarded([&] {
    *out = {nullptr, 0, nullptr, 0, 0};
    const auto keys = tensor->key_set() - c10::autograd_dispatch_keyset_with_ADInplaceOrView -
        c10::autocast_dispatch_keyset;
    if (keys != c10::DispatchKeySet(c10::DispatchKey::CPU) || tensor->is_inference() ||
        !tensor->is_contiguous()) {
      return;
    }
    const auto sizes = tensor->sizes();
    *out = {
        tensor->mutable_data_ptr(), tensor->numel(), sizes.data(), sizes.size(),
        static_cast<int>(tensor->scalar_type())};
  });
}

// Tells autograd that the values of a tensor were overwritten.
char* tch_init_bump_version(const at::Tensor* tensor) {
  return guarded([&] { tensor->unsafeGetTensorImpl()->bump_version(); });
}

// Whether the operators that this thread calls go to their kernels: no mode and no fallback intercepts them.
int tch_init_dispatch_is_plain() noexcept {
  return c10::impl::tls_local_dispatch_key_set().included_ == c10::default_included_set;
}

// MKL's function for the square roots of many numbers, which ATen/cpu/vml.h calls where libtorch is built with MKL; null where
// it is not. libtorch exports it.
void* tch_init_vml_sqrt(int is_double) noexcept {
  return dlsym(RTLD_DEFAULT, is_double != 0 ? "vmdSqrt" : "vmsSqrt");
}

// Sets how many threads MKL takes in calls of this thread, 0 for as many as it does otherwise. Returns what it was.
int tch_init_set_mkl_threads(int threads) noexcept {
  using Set = int (*)(int);
  static const Set set = reinterpret_cast<Set>(dlsym(RTLD_DEFAULT, "MKL_Set_Num_Threads_Local"));
  return set == nullptr ? 0 : set(threads);
}

// Locks a CPU generator, as libtorch's kernels do, and copies its state. `*locked` must be unlocked by
// the same thread; it is null, and nothing is locked, for a generator of another device. A null
// generator means the default one.
char* tch_init_state_lock(
    const at::Generator* generator, at::CPUGeneratorImpl** locked, TchInitState* state) {
  return guarded([&] {
    *locked = nullptr;
    const auto& chosen =
        generator != nullptr ? *generator : at::detail::getDefaultCPUGenerator();
    if (chosen.device().type() != at::kCPU) {
      return;
    }
    auto* cpu = at::check_generator<at::CPUGeneratorImpl>(chosen);
    std::unique_lock<std::mutex> lock(cpu->mutex_);
    const auto& data = engine_of(cpu);
    std::copy(data.state_.begin(), data.state_.end(), state->words);
    state->initial_seed = data.seed_;
    state->left = static_cast<uint32_t>(data.left_);
    state->next = data.next_;
    state->double_normal = CachedNormal(cpu->next_double_normal_sample());
    state->float_normal = CachedNormal(cpu->next_float_normal_sample());
    lock.release();
    *locked = cpu;
  });
}

// Copies a state to a locked generator.
char* tch_init_state_store(at::CPUGeneratorImpl* locked, const TchInitState* state) {
  return guarded([&] {
    auto& data = engine_of(locked);
    data.seed_ = state->initial_seed;
    data.seeded_ = true;
    data.left_ = static_cast<int>(state->left);
    data.next_ = state->next;
    std::copy(state->words, state->words + at::MERSENNE_STATE_N, data.state_.begin());
    locked->set_next_double_normal_sample(state->double_normal.get());
    locked->set_next_float_normal_sample(state->float_normal.get());
  });
}

void tch_init_state_unlock(at::CPUGeneratorImpl* locked) noexcept { locked->mutex_.unlock(); }

// tch's own fallible calls panic where libtorch rejects a scalar: the destructor of tch's `Scalar`
// finds the error before the call returns it. These replace the calls that a user can make fail.

char* tch_init_fill_(at::Tensor* tensor, double value) {
  return guarded([&] { tensor->fill_(value); });
}

// `*out` is a new mask of the elements below `low` or above `high`.
char* tch_init_outside(const at::Tensor* tensor, double low, double high, at::Tensor** out) {
  return guarded([&] { *out = new at::Tensor(tensor->lt(low).bitwise_or_(tensor->gt(high))); });
}

// `a + alpha * b`, `a - alpha * b` or `b - alpha * a` for `operation` 0, 1, 2; torch-sys lacks `alpha`.
// `b` is the tensor, or `number` if the tensor is null.
char* tch_init_add(const at::Tensor* a, const at::Tensor* b, const at::Scalar* number,
                   const at::Scalar* alpha, int operation, at::Tensor** out) {
  return guarded([&] {
    const auto computed = [&](const auto& b) {
      switch (operation) {
        case 0:
          return at::add(*a, b, *alpha);
        case 1:
          return at::sub(*a, b, *alpha);
        default:
          return at::rsub(*a, b, *alpha);
      }
    };
    *out = new at::Tensor(b != nullptr ? computed(*b) : computed(*number));
  });
}

// In place, with the number that torch-sys lacks: `self + value * a`, `self + value * a * b`, `self + value * a / b`. And
// `lerp_`, which torch-sys has, but a number that does not fit makes tch panic.
char* tch_init_scaled_(at::Tensor* self, const at::Tensor* a, const at::Tensor* b, double value, int operation) {
  return guarded([&] {
    switch (operation) {
      case 0:
        self->add_(*a, value);
        break;
      case 1:
        self->addcmul_(*a, *b, value);
        break;
      case 2:
        self->addcdiv_(*a, *b, value);
        break;
      default:
        self->lerp_(*a, value);
    }
  });
}

// The same into a new tensor.
char* tch_init_scaled(const at::Tensor* self, const at::Tensor* a, const at::Tensor* b, double value, int operation,
                      at::Tensor** out) {
  return guarded([&] {
    *out = new at::Tensor(
        operation == 0       ? self->add(*a, value)
            : operation == 1 ? self->addcmul(*a, *b, value)
            : operation == 2 ? self->addcdiv(*a, *b, value)
                             : self->lerp(*a, value));
  });
}

// `self + number`, `self * number` or `self / number` in place, as Python calls them: with the number as a tensor. torch-sys calls
// `mul_(Scalar)`, which exchanges the factors, and in bfloat16 and float16 rounds the number first. Or with elements limited by it.
char* tch_init_number_(at::Tensor* self, double number, int operation) {
  return guarded([&] {
    switch (operation) {
      case 0:
        self->add_(at::native::wrapped_scalar_tensor(number));
        break;
      case 1:
        self->mul_(at::native::wrapped_scalar_tensor(number));
        break;
      case 2:
        self->div_(at::native::wrapped_scalar_tensor(number));
        break;
      case 3:
        self->clamp_min_(number);
        break;
      default:
        self->clamp_max_(number);
    }
  });
}

// The same into a new tensor.
char* tch_init_number(const at::Tensor* self, double number, int operation, at::Tensor** out) {
  return guarded([&] {
    const auto other = at::native::wrapped_scalar_tensor(number);
    *out = new at::Tensor(
        operation == 0       ? self->add(other)
            : operation == 1 ? self->mul(other)
            : operation == 2 ? self->div(other)
            : operation == 3 ? self->clamp_min(number)
                             : self->clamp_max(number));
  });
}

// `torch.Tensor.clone`, which keeps the strides.
char* tch_init_clone(const at::Tensor* tensor, at::Tensor** out) {
  return guarded([&] { *out = new at::Tensor(tensor->detach().clone()); });
}

// `torch.linalg.vector_norm`, which torch-sys lacks.
char* tch_init_vector_norm(const at::Tensor* tensor, double order, at::Tensor** out) {
  return guarded([&] { *out = new at::Tensor(at::linalg_vector_norm(*tensor, order)); });
}

// What `Optimizer.zero_grad` does with one parameter.
char* tch_init_zero_grad(const at::Tensor* tensor, int set_to_none) {
  return guarded([&] {
    auto& grad = tensor->mutable_grad();
    if (!grad.defined()) {
      return;
    }
    if (set_to_none != 0) {
      grad.reset();
      return;
    }
    if (grad.grad_fn()) {
      grad.detach_();
    } else {
      grad.requires_grad_(false);
    }
    grad.zero_();
  });
}

// `*out` is a new permutation of the integers below `n`. A null generator means the default one.
char* tch_init_randperm(int64_t n, const at::Generator* generator, at::Tensor** out) {
  return guarded([&] {
    const auto chosen =
        generator != nullptr ? std::make_optional(*generator) : std::nullopt;
    *out = new at::Tensor(at::randperm(n, chosen, at::kLong));
  });
}

// Calls an operator by its schema, with a generator where it takes one (null: the default one). An operator
// that is in place overwrites its first argument; any other must be a function of its arguments that
// returns tensors. `outs` receives `*count` new tensors, at most `capacity`.
char* tch_init_call(
    const char* name, const char* overload, int in_place, const TchInitArgument* arguments,
    uint64_t argument_count, const at::Generator* generator, at::Tensor** outs, uint64_t capacity,
    uint64_t* count) {
  return guarded([&] {
    *count = 0;
    const auto op = c10::Dispatcher::singleton().findSchema({name, overload});
    TORCH_CHECK(op.has_value(), "this libtorch lacks ", name, ".", overload);
    const auto& schema = op->schema();
    const auto& expected = schema.arguments();
    TORCH_CHECK(
        argument_count <= expected.size(), "expected at most ", expected.size(), " arguments of ",
        schema.name(), ", found ", argument_count);
    TORCH_CHECK(
        generator == nullptr || std::any_of(expected.begin(), expected.end(), [](const auto& argument) {
          return argument.type()->str() == "Generator?";
        }),
        schema.name(), " takes no generator");
    torch::jit::Stack stack;
    for (size_t i = 0; i < expected.size(); i++) {
      const auto* alias = expected[i].alias_info();
      TORCH_CHECK(
          alias == nullptr || (in_place != 0 && i == 0), schema.name(), " is not a function");
      if (i < argument_count) {
        stack.push_back(value_of(*expected[i].real_type(), arguments[i], generator));
      } else if (expected[i].type()->str() == "Generator?") {
        stack.push_back(generator != nullptr ? c10::IValue(*generator) : c10::IValue());
      } else {
        const auto& value = expected[i].default_value();
        TORCH_CHECK(value.has_value(), schema.name(), " lacks ", expected[i].name());
        stack.push_back(*value);
      }
    }
    for (const auto& result : schema.returns()) {
      TORCH_CHECK(
          result.type()->kind() == c10::TypeKind::TensorType &&
              (result.alias_info() == nullptr || in_place != 0),
          schema.name(), " returns no new tensor");
    }
    const at::NoGradGuard no_grad;
    // The rejection sampling of these does not end for other values.
    const std::string called = name;
    if (called == "aten::_standard_gamma" || called == "aten::_sample_dirichlet") {
      const auto& values = stack[0].toTensor();
      TORCH_CHECK(
          values.isfinite().logical_and_(values.gt(0)).all().item<bool>(),
          "expected positive numbers");
    }
    // The last argument of an LSTM's layer says whether gradients were recorded, which selects oneDNN's kernel.
    const bool of_lstm = called == "aten::mkldnn_rnn_layer";
    const at::AutoGradMode mode(of_lstm && stack.back().toBool());
    if (of_lstm) {
      stack.back() = false;
    }
    op->callBoxed(stack);
    if (of_lstm) {
      // The memory that training needs.
      stack.back() = at::Tensor();
    }
    if (in_place != 0) {
      return;
    }
    TORCH_CHECK(
        stack.size() == schema.returns().size() && stack.size() <= capacity, schema.name(),
        " returns ", stack.size(), " tensors, expected ", capacity);
    for (auto& result : stack) {
      // Such as the memory that training needs, of an LSTM that is not trained.
      if (!result.toTensor().defined()) {
        result = at::empty({0}, at::kByte);
      }
      const auto& tensor = result.toTensor();
      TORCH_CHECK(
          tensor.layout() == at::kStrided && tensor.device().is_cpu(),
          schema.name(), " returns a tensor that is not in memory");
    }
    for (const auto& result : stack) {
      outs[(*count)++] = new at::Tensor(result.toTensor().resolve_conj().resolve_neg());
    }
  });
}

// The storage of a tensor whose bytes the host can read as they are: strided, on the CPU, not lazily
// negated or conjugated. Fails for any other tensor.
char* tch_init_storage(const at::Tensor* tensor, TchInitStorage* out) {
  return guarded([&] {
    TORCH_CHECK(tensor->defined(), "an undefined tensor cannot be recorded");
    TORCH_CHECK(
        tensor->layout() == at::kStrided && tensor->has_storage(),
        "a tensor of layout ", tensor->layout(), " cannot be recorded");
    TORCH_CHECK(
        tensor->device().is_cpu(), "a tensor on ", tensor->device(), " cannot be recorded");
    TORCH_CHECK(
        !tensor->is_neg() && !tensor->is_conj(),
        "a lazily negated or conjugated tensor cannot be recorded");
    const auto& storage = tensor->storage();
    *out = {
        storage.unsafeGetStorageImpl(), storage.data(), storage.nbytes(),
        tensor->storage_offset()};
  });
}

// Begins to intercept the operators that this thread calls.
char* tch_init_recording_begin() {
  return guarded([] {
    TORCH_CHECK(recording == nullptr, "a recording cannot begin within another one");
    // Registered once and only when needed: it visits the tables of all operators.
    static const auto library = [] {
      torch::Library all(torch::Library::IMPL, "_", kRecorded, __FILE__, __LINE__);
      all.fallback(torch::CppFunction::makeFromBoxedFunction<&recorded>());
      return all;
    }();
    recording = std::make_unique<Recording>();
    c10::impl::tls_set_dispatch_key_included(kRecorded, true);
  });
}

// `*refused` is the name of the first operator that drew or needed missing values, or null.
char* tch_init_recording_end(char** refused) {
  return guarded([&] {
    c10::impl::tls_set_dispatch_key_included(kRecorded, false);
    const auto ended = std::move(recording);
    *refused = ended != nullptr && !ended->refused.empty() ? copy_of(ended->refused.c_str())
                                                           : nullptr;
  });
}

// `*out` is 1 if this thread records and the tensor has no values, otherwise 0.
char* tch_init_recording_is_blank(const at::Tensor* tensor, int* out) {
  return guarded([&] { *out = is_blank(*tensor) ? 1 : 0; });
}

char* tch_init_recording_make_blank(const at::Tensor* tensor) {
  return guarded([&] { make_blank(*tensor); });
}

// The address that all handles of a tensor share.
const void* tch_init_tensor_identity(const at::Tensor* tensor) noexcept {
  return tensor->unsafeGetTensorImpl();
}

// The name of the function that computed the tensor, empty for a leaf. Like Python, this updates the
// history of a view first, which can fail.
char* tch_init_grad_fn(const at::Tensor* tensor, char** out) {
  return guarded([&] {
    const auto& function = tensor->grad_fn();
    *out = copy_of(function ? function->name().c_str() : "");
  });
}

using WeakTensor = c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;

// While a weak handle lives, the address of its tensor is not reused.
char* tch_init_weak_new(const at::Tensor* tensor, WeakTensor** out) {
  return guarded([&] { *out = new WeakTensor(tensor->getIntrusivePtr()); });
}

int tch_init_weak_expired(const WeakTensor* weak) noexcept { return weak->expired() ? 1 : 0; }

void tch_init_weak_free(WeakTensor* weak) noexcept { delete weak; }

// A fact about libtorch; the numbers are those of `Fact` in src/ffi.rs.
char* tch_init_fact(int which, char** out) {
  return guarded([&] {
    std::string fact;
    switch (which) {
      case 0:
        fact = at::get_cpu_capability();
        break;
      case 1:
        fact = at::hasMKL() ? at::get_mkl_version() : "";
        break;
      case 2:
        dl_iterate_phdr(find_libtorch, &fact);
        break;
      case 3:
        fact = at::hasLAPACK() ? "yes" : "no";
        break;
      case 4: {
        // TORCH_VERSION is that of the headers, the library's is part of its configuration.
        // Looked up by its name, since an older libtorch, whose strings are others, lacks this function.
        using Config = std::string (*)();
        const auto show_config =
            reinterpret_cast<Config>(dlsym(RTLD_DEFAULT, "_ZN2at11show_configB5cxx11Ev"));
        if (show_config == nullptr) {
          fact = "older than 2.7";
          break;
        }
        const std::string config = show_config();
        const std::string key = "TORCH_VERSION=";
        const auto from = config.find(key);
        fact = from == std::string::npos
            ? "unknown"
            : config.substr(from + key.size(), config.find(',', from) - from - key.size());
        break;
      }
      case 5:
        fact = TORCH_VERSION;
        break;
      default:
        TORCH_CHECK(false, "unknown fact: ", which);
    }
    *out = copy_of(fact.c_str());
  });
}

}  // extern "C"
