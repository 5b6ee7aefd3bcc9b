// Arguments of operators and failures of functions, as Rust and C++ pass them to one another.

#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <ATen/core/jit_type.h>
#include <ATen/ops/scalar_tensor.h>
#include <c10/core/ScalarType.h>

#include "words.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

char* copy_of(const char* text) noexcept {
  char* copy = strdup(text);
  // Out of memory: an empty message still reports a failure.
  return copy != nullptr ? copy : static_cast<char*>(std::calloc(1, 1));
}

template <typename F>
char* guarded(F f) noexcept {
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

// An argument of an operator, `ffi::CArgument` in Rust. What its kind does not name is zero.
struct TchInitArgument {
  // 0 none, 1 tensor, 2 integer, 3 real, 4 bool, 5 text, 6 list
  int64_t kind;
  // An integer or a bool.
  int64_t integer;
  double real;
  const char* text;
  const at::Tensor* tensor;
  const TchInitArgument* items;
  uint64_t count;
};

c10::ScalarType scalar_type_of(const std::string& name) {
  static const auto types = [] {
    std::unordered_map<std::string, c10::ScalarType> types;
#define TCH_INIT_TYPE(_, type) types.emplace(c10::getDtypeNames(c10::ScalarType::type).first, c10::ScalarType::type);
    AT_FORALL_SCALAR_TYPES_WITH_COMPLEX_AND_QINTS(TCH_INIT_TYPE)
#undef TCH_INIT_TYPE
    return types;
  }();
  const auto found = types.find(name);
  TORCH_CHECK(found != types.end(), "unknown dtype ", name);
  return found->second;
}

at::Scalar scalar_of(const TchInitArgument& argument) {
  switch (argument.kind) {
    case 2:
      return at::Scalar(argument.integer);
    case 3:
      return at::Scalar(argument.real);
    case 4:
      return at::Scalar(argument.integer != 0);
    default:
      TORCH_CHECK(false, "expected a number");
  }
}

// The value of an argument of a schema. A generator is the given one, whatever the argument.
c10::IValue value_of(
    const c10::Type& type, const TchInitArgument& argument, const at::Generator* generator) {
  const auto kind = type.kind();
  if (kind == c10::TypeKind::OptionalType) {
    const auto& element = *type.expectRef<c10::OptionalType>().getElementType();
    const bool is_generator = element.kind() == c10::TypeKind::GeneratorType;
    if (argument.kind == 0 && !is_generator) {
      return {};
    }
    return value_of(element, argument, generator);
  }
  const auto items = [&] {
    return argument.kind == 6 ? c10::ArrayRef<TchInitArgument>(argument.items, argument.count)
                              : c10::ArrayRef<TchInitArgument>(argument);
  };
  switch (kind) {
    case c10::TypeKind::TensorType: {
      if (argument.kind == 1) {
        return *argument.tensor;
      }
      // A Python number that takes the place of a tensor promotes as a number.
      auto number = at::scalar_tensor(
          scalar_of(argument),
          argument.kind == 2 ? at::kLong : argument.kind == 3 ? at::kDouble : at::kBool);
      number.unsafeGetTensorImpl()->set_wrapped_number(true);
      return number;
    }
    case c10::TypeKind::NumberType:
      return scalar_of(argument);
    case c10::TypeKind::FloatType:
      return scalar_of(argument).toDouble();
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType:
      TORCH_CHECK(argument.kind == 2 || argument.kind == 4, "expected an integer");
      return argument.integer;
    case c10::TypeKind::BoolType:
      TORCH_CHECK(argument.kind == 4, "expected a bool");
      return argument.integer != 0;
    case c10::TypeKind::StringType:
      TORCH_CHECK(argument.kind == 5, "expected a text");
      return std::string(argument.text);
    case c10::TypeKind::ScalarTypeType:
      TORCH_CHECK(argument.kind == 5, "expected the name of a dtype");
      return scalar_type_of(argument.text);
    case c10::TypeKind::DeviceObjType:
      TORCH_CHECK(argument.kind == 5, "expected the name of a device");
      return at::Device(argument.text);
    case c10::TypeKind::LayoutType:
      TORCH_CHECK(argument.kind == 5, "expected the name of a layout");
      return value_of_word(LAYOUTS, argument.text, "layout");
    case c10::TypeKind::MemoryFormatType:
      TORCH_CHECK(argument.kind == 5, "expected the name of a memory format");
      return value_of_word(MEMORY_FORMATS, argument.text, "memory format");
    case c10::TypeKind::GeneratorType:
      return generator != nullptr ? c10::IValue(*generator) : c10::IValue();
    case c10::TypeKind::ListType: {
      const auto& element = *type.expectRef<c10::ListType>().getElementType();
      switch (element.kind()) {
        case c10::TypeKind::IntType:
        case c10::TypeKind::SymIntType: {
          std::vector<int64_t> list;
          for (const auto& item : items()) {
            TORCH_CHECK(item.kind == 2, "expected integers");
            list.push_back(item.integer);
          }
          return list;
        }
        case c10::TypeKind::FloatType: {
          std::vector<double> list;
          for (const auto& item : items()) {
            list.push_back(scalar_of(item).toDouble());
          }
          return list;
        }
        case c10::TypeKind::NumberType: {
          c10::List<at::Scalar> list;
          for (const auto& item : items()) {
            list.push_back(scalar_of(item));
          }
          return list;
        }
        case c10::TypeKind::BoolType: {
          c10::List<bool> list;
          for (const auto& item : items()) {
            list.push_back(scalar_of(item).toBool());
          }
          return list;
        }
        case c10::TypeKind::TensorType: {
          c10::List<at::Tensor> list;
          for (const auto& item : items()) {
            TORCH_CHECK(item.kind == 1, "expected tensors");
            list.push_back(*item.tensor);
          }
          return list;
        }
        case c10::TypeKind::OptionalType: {
          c10::List<std::optional<at::Tensor>> list;
          for (const auto& item : items()) {
            TORCH_CHECK(item.kind <= 1, "expected tensors");
            list.push_back(item.kind == 1 ? std::make_optional(*item.tensor) : std::nullopt);
          }
          return list;
        }
        default:
          TORCH_CHECK(false, "a list of ", element.str(), " cannot be passed");
      }
    }
    default:
      TORCH_CHECK(false, "an argument of type ", type.str(), " cannot be passed");
  }
}

}  // namespace
