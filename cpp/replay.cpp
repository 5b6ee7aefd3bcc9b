// Runs recorded operations again: calls of any operator on tensors that are views of given memory.

#include "argument.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <stdexcept>

namespace {

// What takes the place of memory, reads files, or waits for something else is not run.
bool is_refused(const std::string& name) {
  static const std::vector<std::string> names = {
      "aten::from_file", "aten::set_", "aten::record_stream", "aten::_nested_view_from_buffer",
      "aten::sym_constrain_range", "aten::_pin_memory",
  };
  return name.rfind("aten::", 0) != 0 || std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

extern "C" {

// `*out` is a new tensor of bytes.
char* tch_init_replay_memory(uint64_t bytes, at::Tensor** out) {
  return guarded([&] {
    *out = new at::Tensor(at::empty({static_cast<int64_t>(bytes)}, at::kByte));
    std::memset((*out)->mutable_data_ptr(), 0, bytes);
  });
}

// `*out` is a tensor in the storage of another one.
char* tch_init_replay_view(
    const at::Tensor* base, const char* dtype, const int64_t* sizes, const int64_t* strides,
    uint64_t dim, int64_t offset, at::Tensor** out) {
  return guarded([&] {
    const auto type = scalar_type_of(dtype);
    const c10::IntArrayRef size(sizes, dim), stride(strides, dim);
    int64_t last = offset;
    bool is_empty = false;
    TORCH_CHECK(offset >= 0, "a negative offset");
    for (size_t i = 0; i < dim; i++) {
      TORCH_CHECK(sizes[i] >= 0 && strides[i] >= 0, "a negative size or stride");
      is_empty |= sizes[i] == 0;
      int64_t step = 0;
      TORCH_CHECK(
          sizes[i] == 0 || (!__builtin_mul_overflow(sizes[i] - 1, strides[i], &step) &&
                            !__builtin_add_overflow(last, step, &last)),
          "a tensor larger than memory");
    }
    const auto& storage = base->storage();
    TORCH_CHECK(
        is_empty || static_cast<uint64_t>(last) < storage.nbytes() / c10::elementSize(type),
        "a view beyond its storage");
    *out = new at::Tensor(at::empty({0}, type).set_(storage, offset, size, stride));
  });
}

// Copies contiguous elements to a tensor.
char* tch_init_replay_write(const at::Tensor* tensor, const void* data, uint64_t bytes) {
  return guarded([&] {
    TORCH_CHECK(tensor->nbytes() == bytes, "expected ", tensor->nbytes(), " bytes, found ", bytes);
    const at::NoGradGuard no_grad;
    if (bytes != 0) {
      tensor->copy_(at::from_blob(
          const_cast<void*>(data), tensor->sizes(), at::TensorOptions(tensor->scalar_type())));
    }
  });
}

// Copies the elements of a tensor, contiguous.
char* tch_init_replay_read(const at::Tensor* tensor, void* data, uint64_t bytes) {
  return guarded([&] {
    TORCH_CHECK(
        tensor->layout() == at::kStrided && tensor->device().is_cpu(), "a tensor not in memory");
    TORCH_CHECK(tensor->nbytes() == bytes, "expected ", tensor->nbytes(), " bytes, found ", bytes);
    const at::NoGradGuard no_grad;
    const auto plain = tensor->resolve_conj().resolve_neg().contiguous();
    if (bytes != 0) {
      std::memcpy(data, plain.const_data_ptr(), bytes);
    }
  });
}

// Writes PyTorch's name of the dtype, at most `capacity` bytes with the final zero.
char* tch_init_replay_dtype(const at::Tensor* tensor, char* name, uint64_t capacity) {
  return guarded([&] {
    const std::string text(c10::getDtypeNames(tensor->scalar_type()).first);
    TORCH_CHECK(text.size() < capacity, "a long dtype");
    std::memcpy(name, text.data(), text.size());
    name[text.size()] = 0;
  });
}

// Calls an operator as the kernels of autograd call it. `outs` receives the tensors of the results in order, null for
// one that is undefined.
char* tch_init_replay_call(
    const char* name, const char* overload, const TchInitArgument* arguments,
    uint64_t argument_count, const at::Generator* generator, int grad, at::Tensor** outs,
    uint64_t capacity, uint64_t* count) {
  return guarded([&] {
    *count = 0;
    TORCH_CHECK(!is_refused(name), name, " is not run");
    const auto op = c10::Dispatcher::singleton().findSchema({name, overload});
    TORCH_CHECK(op.has_value(), "this libtorch lacks ", name, ".", overload);
    const auto& expected = op->schema().arguments();
    TORCH_CHECK(
        argument_count <= expected.size(), "expected at most ", expected.size(), " arguments of ",
        name, ", found ", argument_count);
    torch::jit::Stack stack;
    for (size_t i = 0; i < expected.size(); i++) {
      if (i < argument_count) {
        stack.push_back(value_of(*expected[i].real_type(), arguments[i], generator));
      } else {
        const auto& value = expected[i].default_value();
        TORCH_CHECK(value.has_value(), name, " lacks ", expected[i].name());
        stack.push_back(*value);
      }
    }
    const at::AutoGradMode mode(grad != 0);
    const at::AutoDispatchBelowADInplaceOrView below;
    const std::string called = name;
    // The rejection sampling of these does not end for other values.
    if (called == "aten::_standard_gamma" || called == "aten::_sample_dirichlet") {
      const auto& values = stack[0].toTensor();
      TORCH_CHECK(
          values.isfinite().logical_and_(values.gt(0)).all().item<bool>(),
          "expected positive numbers");
    }
    op->callBoxed(stack);
    const auto add = [&](const at::Tensor& tensor) {
      TORCH_CHECK(*count < capacity, name, " returns more than ", capacity, " tensors");
      outs[(*count)++] = tensor.defined() ? new at::Tensor(tensor) : nullptr;
    };
    for (const auto& result : stack) {
      if (result.isTensor()) {
        add(result.toTensor());
      } else if (result.isTensorList() || result.isOptionalTensorList() || result.isList()) {
        for (const auto& item : result.toListRef()) {
          if (item.isTensor()) {
            add(item.toTensor());
          }
        }
      }
    }
  });
}

}  // extern "C"
