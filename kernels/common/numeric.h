// How reference kernels read, add up and write numbers of any dtype.
#pragma once

#include <cstdint>
#include <type_traits>

#include "engine/error.h"
#include "engine/type.h"

namespace tapescope {

// bf16 is summed in f32 (wide()), as tensor cores do; every other dtype in itself.
template <class T>
using Accumulator = std::conditional_t<std::is_same_v<T, bf16>, float, T>;

// y[i] = sum, rounded to T unless y is wide.
template <class T>
void store(void* y, std::int64_t i, Accumulator<T> sum, bool wide) {
  wide ? void(static_cast<Accumulator<T>*>(y)[i] = sum) : void(static_cast<T*>(y)[i] = T(sum));
}

// Calls f(T{}) with the C++ type of a floating dtype.
template <class F>
auto with_floating(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    case DType::bf16:
      return f(bf16{});
    default:
      throw usage_error("a floating dtype is needed, not {}", name_of(dtype));
  }
}

}  // namespace tapescope
