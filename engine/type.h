// DType, Shape and Type: what a tensor is before it has any memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace tapescope {

enum class DType : std::uint8_t { f32, bf16, f64, i64, u8 };

constexpr std::size_t size_of(DType dtype) {
  return dtype == DType::u8 ? 1 : dtype == DType::bf16 ? 2 : dtype == DType::f32 ? 4 : 8;
}
constexpr bool is_floating(DType dtype) {
  return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f64;
}
// What stays f32 where data are bf16: vectors such as a bias or a norm's scale, what is summed up
// for them, and the gradient of weights.
constexpr DType wide(DType dtype) { return dtype == DType::bf16 ? DType::f32 : dtype; }
std::string_view name_of(DType dtype);

// What convolutions and matrix products are computed in: a dtype, or tf32: that is f32 in memory,
// whose kernels may round operands to 10 bits of mantissa where a table has such ones.
struct Precision {
  DType dtype = DType::f32;
  bool tf32 = false;
  constexpr Precision(DType dtype = DType::f32, bool tf32 = false) : dtype(dtype), tf32(tf32) {}
  friend bool operator==(const Precision&, const Precision&) = default;
};
inline constexpr Precision kTf32{DType::f32, true};
std::string_view name_of(Precision precision);

// bfloat16 as storage: the upper half of a float, rounded to nearest even.
struct bf16 {
  std::uint16_t bits = 0;
  bf16() = default;
  explicit constexpr bf16(float value) {
    auto u = __builtin_bit_cast(std::uint32_t, value);
    if ((u & 0x7fffffffu) > 0x7f800000u) {  // NaN stays NaN: rounding could carry it into infinity
      bits = static_cast<std::uint16_t>((u >> 16) | 0x40u);
    } else {
      bits = static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
    }
  }
  explicit constexpr operator float() const {
    return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 16);
  }
};

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  if constexpr (std::is_same_v<T, bf16>) return DType::bf16;
  if constexpr (std::is_same_v<T, double>) return DType::f64;
  if constexpr (std::is_same_v<T, std::int64_t>) return DType::i64;
  if constexpr (std::is_same_v<T, std::uint8_t>) return DType::u8;
}

// Up to six extents, row-major, the last one contiguous. Rank 0 is a scalar of one element. An
// extent may be 0 (an empty batch).
class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents)
      : Shape(std::span<const std::int64_t>(extents.begin(), extents.size())) {}
  // Throws a usage error on more than kMaxRank extents or a negative one.
  explicit Shape(std::span<const std::int64_t> extents);

  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return extents_[static_cast<std::size_t>(axis)]; }
  std::int64_t& operator[](int axis) { return extents_[static_cast<std::size_t>(axis)]; }
  const std::int64_t* begin() const { return extents_.data(); }
  const std::int64_t* end() const { return extents_.data() + rank_; }
  std::int64_t elements() const {
    std::int64_t n = 1;
    for (std::int64_t extent : *this) n *= extent;
    return n;
  }
  // Product of the extents from `first` up to, not including, `last`.
  std::int64_t elements(int first, int last) const {
    std::int64_t n = 1;
    for (int axis = first; axis < last; ++axis) n *= (*this)[axis];
    return n;
  }
  // The shape without its first `count` axes.
  Shape without_leading(int count = 1) const {
    return Shape(std::span<const std::int64_t>(begin() + count, end()));
  }
  // The shape with one more axis of this extent in front.
  Shape with_leading(std::int64_t extent) const;

  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
      if (a[i] != b[i]) return false;
    return true;
  }

 private:
  std::array<std::int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

std::string to_string(const Shape& shape);  // "{2, 28, 28, 1}"

struct Type {
  DType dtype = DType::f32;
  Shape shape;

  std::int64_t elements() const { return shape.elements(); }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * size_of(dtype); }
  friend bool operator==(const Type&, const Type&) = default;
};

std::string to_string(const Type& type);  // "f32 {2, 28, 28, 1}"

}  // namespace tapescope
