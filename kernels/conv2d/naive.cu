// Convolution and its gradients on a GPU, first rung: one thread per result, and the equation of
// conv2d.h as it stands. Neighbouring threads have neighbouring channels: their reads of weights
// lie together, those of pixels are one broadcast. Everything is read from memory as often as it is
// used.
#include "kernels/conv2d/rungs.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 256;

// x: {N,H,W,I}, w: {O,KH,KW,I/groups}, bias: {O} or null, y: {N,P,Q,O}
template <class T>
__global__ void forward(const T* x, const T* w, const float* bias, T* y, Conv s) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= std::int64_t{s.N} * s.P * s.Q * s.O) return;
  const int o = static_cast<int>(i % s.O), q = static_cast<int>(i / s.O % s.Q);
  const int p = static_cast<int>(i / s.O / s.Q % s.P);
  const std::int64_t n = i / s.O / s.Q / s.P;
  const int inputs = s.I / s.groups, first = o / (s.O / s.groups) * inputs;
  float sum = 0;
  for (int r = 0; r < s.KH; ++r) {
    const int h = p * s.stride_h - s.pad_h + r * s.dilation_h;
    if (h < 0 || h >= s.H) continue;
    for (int c = 0; c < s.KW; ++c) {
      const int v = q * s.stride_w - s.pad_w + c * s.dilation_w;
      if (v < 0 || v >= s.W) continue;
      const T* pixel = x + ((n * s.H + h) * s.W + v) * s.I + first;
      const T* tap = w + ((std::int64_t{o} * s.KH + r) * s.KW + c) * inputs;
      for (int k = 0; k < inputs; ++k) {
        sum += static_cast<float>(pixel[k]) * static_cast<float>(tap[k]);
      }
    }
  }
  if (bias != nullptr) sum += bias[o];
  y[i] = static_cast<T>(sum);
}

// dy: {N,P,Q,O}, w: {O,KH,KW,I/groups}, dx: {N,H,W,I}
template <class T>
__global__ void data_gradient(const T* dy, const T* w, T* dx, Conv s) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= std::int64_t{s.N} * s.H * s.W * s.I) return;
  const int channel = static_cast<int>(i % s.I), v = static_cast<int>(i / s.I % s.W);
  const int h = static_cast<int>(i / s.I / s.W % s.H);
  const std::int64_t n = i / s.I / s.W / s.H;
  const int inputs = s.I / s.groups, outputs = s.O / s.groups;
  const int group = channel / inputs, k = channel % inputs;
  float sum = 0;
  for (int r = 0; r < s.KH; ++r) {
    const int p = reader(h, r, s.stride_h, s.pad_h, s.dilation_h, s.P);
    if (p < 0) continue;
    for (int c = 0; c < s.KW; ++c) {
      const int q = reader(v, c, s.stride_w, s.pad_w, s.dilation_w, s.Q);
      if (q < 0) continue;
      const T* pixel = dy + ((n * s.P + p) * s.Q + q) * s.O;
      for (int o = group * outputs; o < (group + 1) * outputs; ++o) {
        sum += static_cast<float>(pixel[o]) *
               static_cast<float>(w[((std::int64_t{o} * s.KH + r) * s.KW + c) * inputs + k]);
      }
    }
  }
  dx[i] = static_cast<T>(sum);
}

// x: {N,H,W,I}, dy: {N,P,Q,O}, dw: {O,KH,KW,I/groups}
template <class T>
__global__ void weight_gradient(const T* x, const T* dy, float* dw, Conv s) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int inputs = s.I / s.groups;
  if (i >= std::int64_t{s.O} * s.KH * s.KW * inputs) return;
  const int k = static_cast<int>(i % inputs), c = static_cast<int>(i / inputs % s.KW);
  const int r = static_cast<int>(i / inputs / s.KW % s.KH);
  const int o = static_cast<int>(i / inputs / s.KW / s.KH);
  const int channel = o / (s.O / s.groups) * inputs + k;
  float sum = 0;
  for (std::int64_t n = 0; n < s.N; ++n) {
    float image = 0;  // image by image: the error grows with the longer of the two sums
    for (int p = 0; p < s.P; ++p) {
      const int h = p * s.stride_h - s.pad_h + r * s.dilation_h;
      if (h < 0 || h >= s.H) continue;
      for (int q = 0; q < s.Q; ++q) {
        const int v = q * s.stride_w - s.pad_w + c * s.dilation_w;
        if (v < 0 || v >= s.W) continue;
        image += static_cast<float>(x[((n * s.H + h) * s.W + v) * s.I + channel]) *
                 static_cast<float>(dy[((n * s.P + p) * s.Q + q) * s.O + o]);
      }
    }
    sum += image;
  }
  dw[i] = sum;
}

template <class T>
Plan forward_plan(const Conv2dShape& shape) {
  return Plan("naive", 0,
              [s = conv_of(shape), bias = shape.bias](const Queue& queue, const Buffers& b) {
                const std::int64_t n = std::int64_t{s.N} * s.P * s.Q * s.O;
                if (n == 0) return;
                launch<forward<T>>(queue, blocks_for(n, kThreads), kThreads, 0,
                                   static_cast<const T*>(b.in[0]), static_cast<const T*>(b.in[1]),
                                   bias ? static_cast<const float*>(b.in[2]) : nullptr,
                                   static_cast<T*>(b.out[0]), s);
              });
}
template <class T>
Plan data_gradient_plan(const Conv2dShape& shape) {
  return Plan("naive", 0, [s = conv_of(shape)](const Queue& queue, const Buffers& b) {
    const std::int64_t n = std::int64_t{s.N} * s.H * s.W * s.I;
    if (n == 0) return;
    launch<data_gradient<T>>(queue, blocks_for(n, kThreads), kThreads, 0,
                             static_cast<const T*>(b.in[0]), static_cast<const T*>(b.in[1]),
                             static_cast<T*>(b.out[0]), s);
  });
}
template <class T>
Plan weight_gradient_plan(const Conv2dShape& shape) {
  return Plan("naive", 0, [s = conv_of(shape)](const Queue& queue, const Buffers& b) {
    const std::int64_t n = std::int64_t{s.O} * s.KH * s.KW * (s.I / s.groups);
    if (n == 0) return;
    launch<weight_gradient<T>>(queue, blocks_for(n, kThreads), kThreads, 0,
                               static_cast<const T*>(b.in[0]), static_cast<const T*>(b.in[1]),
                               static_cast<float*>(b.out[0]), s);
  });
}

}  // namespace

Plan conv2d_naive(const Conv2dShape& s) {
  return s.dtype == DType::bf16 ? forward_plan<bf16>(s) : forward_plan<float>(s);
}
Plan conv2d_data_gradient_naive(const Conv2dShape& s) {
  return s.dtype == DType::bf16 ? data_gradient_plan<bf16>(s) : data_gradient_plan<float>(s);
}
Plan conv2d_weight_gradient_naive(const Conv2dShape& s) {
  return s.dtype == DType::bf16 ? weight_gradient_plan<bf16>(s) : weight_gradient_plan<float>(s);
}

}  // namespace tapescope::TAPESCOPE_GPU
