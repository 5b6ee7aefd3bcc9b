// Python's names of layouts and memory formats, which traces have in both languages.

#pragma once

#include <c10/core/Layout.h>
#include <c10/core/MemoryFormat.h>
#include <c10/util/Exception.h>

#include <string>
#include <utility>

namespace {

// torch/csrc/utils/tensor_layouts.cpp of PyTorch 2.13.
constexpr std::pair<at::Layout, const char*> LAYOUTS[] = {
    {at::Layout::Strided, "strided"},       {at::Layout::Sparse, "sparse_coo"},     {at::Layout::SparseCsr, "sparse_csr"},
    {at::Layout::SparseCsc, "sparse_csc"},  {at::Layout::SparseBsr, "sparse_bsr"},  {at::Layout::SparseBsc, "sparse_bsc"},
    {at::Layout::Mkldnn, "_mkldnn"},        {at::Layout::Jagged, "jagged"},
};

// torch/csrc/utils/tensor_memoryformats.cpp of PyTorch 2.13.
constexpr std::pair<at::MemoryFormat, const char*> MEMORY_FORMATS[] = {
    {at::MemoryFormat::Contiguous, "contiguous_format"},
    {at::MemoryFormat::Preserve, "preserve_format"},
    {at::MemoryFormat::ChannelsLast, "channels_last"},
    {at::MemoryFormat::ChannelsLast3d, "channels_last_3d"},
};

template <typename T, size_t N>
[[maybe_unused]] const char* word_of(const std::pair<T, const char*> (&words)[N], T value) {
  for (const auto& [known, word] : words) {
    if (known == value) return word;
  }
  return "unknown";
}

template <typename T, size_t N>
[[maybe_unused]] T value_of_word(const std::pair<T, const char*> (&words)[N], const std::string& name, const char* what) {
  for (const auto& [value, word] : words) {
    if (name == word) return value;
  }
  TORCH_CHECK(false, "unknown ", what, " ", name);
}

}  // namespace
