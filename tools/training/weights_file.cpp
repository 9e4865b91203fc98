#include "tools/training/weights_file.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "engine/error.h"
#include "tools/files/text.h"
#include "tools/training/safetensors.h"
#include "tools/training/torch_file.h"

namespace tapescope {
namespace {

constexpr FileType kFileTypes[] = {{"F32", DType::f32, 4},   {"F64", DType::f64, 8},
                                   {"BF16", DType::bf16, 2}, {"I64", DType::i64, 8},
                                   {"U8", DType::u8, 1},     {"F16", DType::f32, 2},
                                   {"I32", DType::i64, 4}};

// IEEE binary16: 1 sign, 5 exponent, 10 fraction bits.
float half_to_float(std::uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int fraction = half & 1023;
  float value = 0;
  if (exponent == 31) {
    value = fraction == 0 ? INFINITY : NAN;
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    value = std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  }
  return half >> 15 != 0 ? -value : value;
}

// `narrow` values of 2 or 4 bytes as the tensor's f32 or i64.
void widen(std::span<const std::byte> narrow, Tensor& to) {
  for (std::size_t i = 0; i < static_cast<std::size_t>(to.elements()); ++i) {
    if (to.dtype() == DType::f32) {
      std::uint16_t half = 0;
      std::memcpy(&half, narrow.data() + i * 2, 2);
      to.values<float>()[i] = half_to_float(half);
    } else {
      std::int32_t whole = 0;
      std::memcpy(&whole, narrow.data() + i * 4, 4);
      to.values<std::int64_t>()[i] = whole;
    }
  }
}

}  // namespace

std::string shown_name(const std::string& name) {
  constexpr std::size_t kMost = 100;
  return printable(name.size() <= kMost ? name : name.substr(0, kMost) + "...");
}

const FileType* file_type(std::string_view name) {
  const auto* type = std::find_if(std::begin(kFileTypes), std::end(kFileTypes),
                                  [&](const FileType& known) { return name == known.name; });
  return type == std::end(kFileTypes) ? nullptr : type;
}

const char* file_name_of(DType dtype) {
  for (const FileType& type : kFileTypes) {
    if (type.dtype == dtype) return type.name;
  }
  return "";
}

WeightsFile::WeightsFile(std::filesystem::path path)
    : path_(std::move(path)), shown_(printable(path_.string())) {
  std::error_code error;
  if (std::filesystem::is_regular_file(path_, error)) return;
  const bool there = std::filesystem::exists(path_, error);
  throw usage_error("{}: {}; check the path", shown_,
                    there ? "is a folder or a device, no such file can be read" : "no such file");
}

void WeightsFile::index_entries() {
  for (const Entry& entry : entries_) {
    if (!by_name_.emplace(entry.name, by_name_.size()).second) {
      throw usage_error("{}: holds \"{}\" twice", shown_, shown_name(entry.name));
    }
  }
}

const WeightsFile::Entry* WeightsFile::find(const std::string& name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &entries_[it->second];
}

Tensor WeightsFile::read(const Entry& entry) {
  const FileType* type = file_type(entry.dtype);
  if (type == nullptr) {
    throw usage_error(
        "{}: tensor \"{}\" has dtype {}; F32, F64, BF16, F16, I64, I32 and U8 are read", shown_,
        shown_name(entry.name), shown_name(entry.dtype));
  }
  if (entry.shape.size() > static_cast<std::size_t>(Shape::kMaxRank)) {
    throw usage_error("{}: tensor \"{}\" has {} axes; up to {} are possible", shown_,
                      shown_name(entry.name), entry.shape.size(), Shape::kMaxRank);
  }
  Tensor tensor({type->dtype, Shape(entry.shape)}, Device::cpu(), Purpose::parameter, "weights");
  if (size_of(type->dtype) == type->bytes) {
    read_bytes(entry, {static_cast<std::byte*>(tensor.data()), tensor.bytes()});
  } else {
    std::vector<std::byte> narrow(static_cast<std::size_t>(tensor.elements()) * type->bytes);
    read_bytes(entry, narrow);
    widen(narrow, tensor);
  }
  return tensor;
}

std::unique_ptr<WeightsFile> open_weights(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  char head[9] = {};
  stream.read(head, sizeof head);
  if (is_torch_file({head, static_cast<std::size_t>(stream.gcount())})) {
    return std::make_unique<TorchFile>(path);
  }
  return std::make_unique<SafetensorsFile>(path);
}

}  // namespace tapescope
