// What tch does not bind: at::Generator, draws from an explicit generator, the identity of a
// tensor, and what libtorch says about itself. Written against libtorch 2.13.
//
// Every function that can fail returns null, or a message that the caller frees with
// tch_init_free: no C++ exception crosses into Rust. Pointers to tensors are tch's own.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Version.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/rsub.h>
#include <ATen/ops/sub.h>
#include <c10/core/TensorImpl.h>
#include <dlfcn.h>
#include <torch/csrc/autograd/function.h>
#include <torch/headeronly/version.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

namespace {

char* copy_of(const char* text) {
  char* copy = strdup(text);
  // Out of memory while reporting: an empty message is still an error to the caller.
  return copy != nullptr ? copy : static_cast<char*>(std::calloc(1, 1));
}

template <typename F>
char* guarded(F f) {
  try {
    f();
    return nullptr;
  } catch (const c10::Error& e) {
    return copy_of(e.what_without_backtrace());
  } catch (const std::exception& e) {
    return copy_of(e.what());
  } catch (...) {
    return copy_of("a C++ exception without a message");
  }
}

std::optional<at::Generator> optional(const at::Generator* generator) {
  if (generator == nullptr) {
    return std::nullopt;
  }
  return *generator;
}

// What is watched while a model is constructed without values.
struct Watch {
  // Storages that have no values, kept so that no other gets their address.
  std::unordered_map<const c10::StorageImpl*, c10::Storage> blank;
  // What was asked first that cannot be done without values.
  std::string refused;
};

thread_local std::unique_ptr<Watch> watch;

// A key that all calls go through where it is included, and that nothing but tests of libtorch
// uses.
constexpr auto kWatched = c10::DispatchKey::TESTING_ONLY_GenericMode;

bool is_blank(const at::Tensor& tensor) {
  return watch != nullptr && tensor.defined() && tensor.has_storage() &&
      watch->blank.count(tensor.storage().unsafeGetStorageImpl()) != 0;
}

void make_blank(const at::Tensor& tensor) {
  if (watch != nullptr && tensor.defined() && tensor.has_storage()) {
    const auto& storage = tensor.storage();
    watch->blank.emplace(storage.unsafeGetStorageImpl(), storage);
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

// Whether a call makes tensors that have no values.
bool makes_blank(const std::string& name) {
  static const std::unordered_set<std::string> names = {
      "aten::empty",         "aten::empty_like",     "aten::empty_permuted",
      "aten::empty_strided", "aten::new_empty",      "aten::new_empty_strided",
  };
  return names.count(name) != 0;
}

// Whether a call asks a tensor for its shape and dtype only.
bool needs_no_values(const std::string& name) {
  static const std::unordered_set<std::string> names = {
      "aten::full_like", "aten::new_full", "aten::new_ones",   "aten::new_zeros",
      "aten::ones_like", "aten::zeros_like",
  };
  return names.count(name) != 0;
}

// Every call of a thread that watches: new tensors without values, views of them, and whatever
// needs no values go their way; the rest does too, but is refused at the end.
void watched(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  c10::impl::ExcludeDispatchKeyGuard unwatched(kWatched);
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
  if (refused && watch != nullptr && watch->refused.empty()) {
    watch->refused = schema.name();
  }
}

}  // namespace

extern "C" {

void tch_init_free(char* text) { std::free(text); }

// cuda < 0: a CPU stream; otherwise the index of a CUDA device.
char* tch_init_generator_new(int cuda, at::Generator** out) {
  return guarded([&] {
    *out = new at::Generator(
        cuda < 0 ? at::detail::createCPUGenerator()
                 : at::globalContext()
                       .getAcceleratorHooksInterface(at::kCUDA)
                       .getNewGenerator(static_cast<c10::DeviceIndex>(cuda)));
  });
}

// A handle to the default stream: it shares its state.
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

void tch_init_generator_free(at::Generator* generator) { delete generator; }

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

// Seeds the default streams of the CPU and of every accelerator that is loaded.
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

// A CPU stream between two draws, as src/init/engine.rs has it.
struct TchInitStream {
  uint64_t seed;
  double next_double_normal;
  uint32_t has_next_double_normal;
  uint32_t left;
  uint32_t next;
  uint32_t words[at::MERSENNE_STATE_N];
};

// Fills `numel` elements of a dtype from the stream and returns 1, or does nothing and returns 0.
using TchInitDraw =
    int (*)(void* context, void* data, int64_t numel, int dtype, TchInitStream* stream);

// Hands a tensor's memory and the CPU generator's stream to `draw`, if the tensor is nothing but
// contiguous memory of the CPU; `*drawn` says whether it was and `draw` returned 1. A null
// generator means the default one. The generator is locked meanwhile, as by libtorch's kernels.
char* tch_init_draw(
    at::Tensor* tensor,
    const at::Generator* generator,
    int64_t min_numel,
    TchInitDraw draw,
    void* context,
    int* drawn) {
  *drawn = 0;
  return guarded([&] {
    const auto keys = tensor->key_set() - c10::autograd_dispatch_keyset_with_ADInplaceOrView -
        c10::autocast_dispatch_keyset;
    if (keys != c10::DispatchKeySet(c10::DispatchKey::CPU) || tensor->is_inference() ||
        tensor->numel() < min_numel || !tensor->is_contiguous()) {
      return;
    }
    const auto& chosen =
        generator != nullptr ? *generator : at::detail::getDefaultCPUGenerator();
    if (chosen.device().type() != at::kCPU) {
      return;
    }
    auto* cpu = at::check_generator<at::CPUGeneratorImpl>(chosen);
    std::lock_guard<std::mutex> lock(cpu->mutex_);
    at::mt19937 engine = cpu->engine();
    at::mt19937_data_pod data = engine.data();
    const auto normal = cpu->next_double_normal_sample();
    TchInitStream stream;
    stream.seed = data.seed_;
    stream.next_double_normal = normal.value_or(0.0);
    stream.has_next_double_normal = normal.has_value() ? 1 : 0;
    stream.left = static_cast<uint32_t>(data.left_);
    stream.next = data.next_;
    std::copy(data.state_.begin(), data.state_.end(), stream.words);
    if (draw(
            context,
            tensor->mutable_data_ptr(),
            tensor->numel(),
            static_cast<int>(tensor->scalar_type()),
            &stream) == 0) {
      return;
    }
    // The block path, which alone is drawn here, leaves the kept normals alone.
    data.left_ = static_cast<int>(stream.left);
    data.next_ = stream.next;
    std::copy(stream.words, stream.words + at::MERSENNE_STATE_N, data.state_.begin());
    engine.set_data(data);
    cpu->set_engine(engine);
    // Autograd must see that the values are others.
    tensor->unsafeGetTensorImpl()->bump_version();
    *drawn = 1;
  });
}

// tch's own fallible calls panic where libtorch refuses a scalar: its `Scalar` is dropped, and
// finds the error, before the call returns it. Hence the two that a user can make fail.

char* tch_init_fill_(at::Tensor* tensor, double value) {
  return guarded([&] { tensor->fill_(value); });
}

// `*out` is a new tensor: which elements lie below `low` or above `high`.
char* tch_init_outside(const at::Tensor* tensor, double low, double high, at::Tensor** out) {
  return guarded([&] { *out = new at::Tensor(tensor->lt(low).bitwise_or_(tensor->gt(high))); });
}

// `a + alpha * b`, `a - alpha * b`, or `b - alpha * a` if `operation` is 0, 1, 2; torch-sys has
// them without `alpha`. `b` is a tensor, or a number if that is null.
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

// `*out` is a new permutation of the integers below `n`. A null generator means the default one.
char* tch_init_randperm(int64_t n, const at::Generator* generator, at::Tensor** out) {
  return guarded([&] {
    const auto chosen =
        generator != nullptr ? std::make_optional(*generator) : std::nullopt;
    *out = new at::Tensor(at::randperm(n, chosen, at::kLong));
  });
}

// Where a tensor lies: an address that all tensors of one storage share, the storage's bytes, and
// how many there are.
void tch_init_storage(const at::Tensor* tensor, const void** id, const void** data,
                      uint64_t* nbytes, int64_t* offset) {
  const auto& storage = tensor->storage();
  *id = storage.unsafeGetStorageImpl();
  *data = storage.data();
  *nbytes = storage.nbytes();
  *offset = tensor->storage_offset();
}

// Begins to watch what this thread asks of libtorch.
char* tch_init_watch_begin() {
  return guarded([] {
    TORCH_CHECK(watch == nullptr, "a recording cannot begin within another one");
    // Once, and not before: it goes through the tables of all operators.
    static const auto library = [] {
      torch::Library all(torch::Library::IMPL, "_", kWatched, __FILE__, __LINE__);
      all.fallback(torch::CppFunction::makeFromBoxedFunction<&watched>());
      return all;
    }();
    watch = std::make_unique<Watch>();
    c10::impl::tls_set_dispatch_key_included(kWatched, true);
  });
}

// `*refused` is what was asked first of a tensor without values, or of the stream; or null.
char* tch_init_watch_end(char** refused) {
  return guarded([&] {
    c10::impl::tls_set_dispatch_key_included(kWatched, false);
    const auto ended = std::move(watch);
    *refused = ended != nullptr && !ended->refused.empty() ? copy_of(ended->refused.c_str())
                                                           : nullptr;
  });
}

// Whether a tensor has no values, since whoever watches was to write them.
int tch_init_watch_is_blank(const at::Tensor* tensor) { return is_blank(*tensor) ? 1 : 0; }

char* tch_init_watch_make_blank(const at::Tensor* tensor) {
  return guarded([&] { make_blank(*tensor); });
}

// The address that all handles of one tensor share.
const void* tch_init_tensor_identity(const at::Tensor* tensor) {
  return tensor->unsafeGetTensorImpl();
}

// The name of the function that computed the tensor, empty for a leaf. As Python does, this brings
// the history of a view up to date, and fails where that cannot be done.
char* tch_init_grad_fn(const at::Tensor* tensor, char** out) {
  return guarded([&] {
    const auto& function = tensor->grad_fn();
    *out = copy_of(function ? function->name().c_str() : "");
  });
}

using WeakTensor = c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;

// While a weak handle lives, the address of its tensor is not used again.
char* tch_init_weak_new(const at::Tensor* tensor, WeakTensor** out) {
  return guarded([&] { *out = new WeakTensor(tensor->getIntrusivePtr()); });
}

int tch_init_weak_expired(const WeakTensor* weak) { return weak->expired() ? 1 : 0; }

void tch_init_weak_free(WeakTensor* weak) { delete weak; }

// What libtorch says of itself, one fact a number; the order is that of `Fact` in src/ffi.rs.
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
      case 2: {
        Dl_info info;
        if (dladdr(reinterpret_cast<void*>(&at::get_cpu_capability), &info) != 0 &&
            info.dli_fname != nullptr) {
          fact = info.dli_fname;
        }
        break;
      }
      case 3:
        fact = at::hasLAPACK() ? "yes" : "no";
        break;
      case 4: {
        // The library's own word; the headers' stands for what this was compiled with.
        const std::string config = at::show_config();
        const std::string key = "TORCH_VERSION=";
        const auto from = config.find(key);
        fact = from == std::string::npos
            ? TORCH_VERSION
            : config.substr(from + key.size(), config.find(',', from) - from - key.size());
        break;
      }
      case 5:
        fact = TORCH_VERSION;
        break;
      default:
        TORCH_CHECK(false, "no such fact: ", which);
    }
    *out = copy_of(fact.c_str());
  });
}

}  // extern "C"
