// What goes into and comes out of the matrix products of gemm.h and tensor_gemm.h:
//
//   c[m, n] = sum_k A(m, k) * B(n, k)
//
// An operand has
//   T                          its elements
//   kAlongK                    whether neighbours in k, or neighbours in m (or n), lie together
//   void step(int BK)          how far one step of a block goes in k; asked for before the launch
//   Row row(int outer)         what the addresses of this m (or n) have in common
//   Column column(int k)       what the addresses of this k have in common
//   void advance(Column&)      the same one step further: additions with carry, never a division
//   bool inside(row, column)   false where the element is zero: a border, an end
//   const T* at(row, column)   where it and its neighbours lie, if inside
//
// A store has
//   T, M, N, bias              what c holds, its extents, {N} of f32 or null
//   bool wide                  whether rows begin on 16 bytes
//   T* row(int m, int piece)   where row m of c begins
#pragma once

#include "kernels/common/gpu.h"
#include "kernels/common/vector.h"

namespace tapescope::TAPESCOPE_GPU {

// `count` times `bytes` behind p: one multiply-add of a GPU.
template <class T>
__device__ __forceinline__ const T* moved(const T* p, int count, int bytes) {
  return reinterpret_cast<const T*>(reinterpret_cast<const char*>(p) + std::int64_t{count} * bytes);
}

// A stored matrix: element (outer, k) at outer * pitch + k.
template <class Element>
struct MatrixAlongK {
  using T = Element;
  static constexpr bool kAlongK = true;
  const T* data;  // {outer, pitch}
  int outer, K, pitch;
  int by = 0;
  void step(int BK) { by = BK; }

  struct Row {
    const T* data;
    int end;  // K, or 0 past the last row
  };
  using Column = int;
  __device__ Row row(int o) const {
    return o < outer ? Row{data + std::int64_t{o} * pitch, K} : Row{data, 0};
  }
  __device__ Column column(int k) const { return k; }
  __device__ void advance(Column& k) const { k += by; }
  __device__ bool inside(const Row& row, Column k) const { return k < row.end; }
  __device__ const T* at(const Row& row, Column k) const { return row.data + k; }
};
// The same matrix stored the other way round: element (outer, k) at k * pitch + outer.
template <class Element>
struct MatrixAlongOuter {
  using T = Element;
  static constexpr bool kAlongK = false;
  const T* data;  // {K, pitch}
  int outer, K, pitch;
  int by = 0;
  void step(int BK) { by = BK; }

  struct Row {
    const T* data;
    int end;
  };
  using Column = int;
  __device__ Row row(int o) const { return o < outer ? Row{data + o, K} : Row{data, 0}; }
  __device__ Column column(int k) const { return k; }
  __device__ void advance(Column& k) const { k += by; }
  __device__ bool inside(const Row& row, Column k) const { return k < row.end; }
  __device__ const T* at(const Row& row, Column k) const {
    return moved(row.data, k, pitch * static_cast<int>(sizeof(T)));
  }
};

// One thread's share of an operand's tiles {BK, Outer}: packs of Width elements, the same ones in
// every step. They have one column in common (neighbours in k lie together) or one row.
template <class Operand, int Outer, int BK, int Width, int threads>
class TileShare {
 public:
  using T = typename Operand::T;
  static constexpr int kPacks = Outer * BK / Width;
  static constexpr int kLoads = (kPacks + threads - 1) / threads;
  static constexpr int kTogether = (Operand::kAlongK ? BK : Outer) / Width;  // packs of a row
  static constexpr int kRowsApart = threads / kTogether;  // from one of its packs to the next

  // Of the tiles whose first rows are `first` and which begin at k.
  __device__ TileShare(const Operand& operand, int first, int k) : operand_(operand) {
    TAPESCOPE_UNROLL
    for (int l = 0; l < kRows; ++l) rows_[l] = operand.row(first + outer_of(l));
    TAPESCOPE_UNROLL
    for (int l = 0; l < kColumns; ++l) columns_[l] = operand.column(k + k_of(l));
  }
  __device__ void advance() {
    TAPESCOPE_UNROLL
    for (int l = 0; l < kColumns; ++l) operand_.advance(columns_[l]);
  }
  // Of pack l: whether the thread has it, its place in the tile, whether and where it is stored.
  __device__ static bool has(int l) {
    return kPacks % threads == 0 || l * threads + static_cast<int>(threadIdx.x) < kPacks;
  }
  __device__ static int outer_of(int l) {
    const int thread = static_cast<int>(threadIdx.x);
    return Operand::kAlongK ? thread / kTogether + l * kRowsApart : thread % kTogether * Width;
  }
  __device__ static int k_of(int l) {
    const int thread = static_cast<int>(threadIdx.x);
    return Operand::kAlongK ? thread % kTogether * Width : thread / kTogether + l * kRowsApart;
  }
  __device__ bool inside(int l) const {
    return operand_.inside(rows_[l % kRows], columns_[l % kColumns]);
  }
  __device__ const T* at(int l) const {
    return operand_.at(rows_[l % kRows], columns_[l % kColumns]);
  }

 private:
  static_assert(threads % kTogether == 0);
  static constexpr int kRows = Operand::kAlongK ? kLoads : 1;
  static constexpr int kColumns = Operand::kAlongK ? 1 : kLoads;
  const Operand& operand_;
  typename Operand::Row rows_[kRows];
  typename Operand::Column columns_[kColumns];
};

// c {M, N}, with an optional bias {N}, which is f32 whatever c is.
template <class Element>
struct StoreMatrix {
  using T = Element;
  T* c;
  const float* bias;
  int M, N;
  bool wide = N % kPackWidth<T> == 0 && aligned(c, 16);
  __device__ T* row(int m, int) const { return c + std::int64_t{m} * N; }
};
// Partial sums {pieces, M, N}, for sum_pieces.
struct StorePieces {
  using T = float;
  float* partial;
  int M, N;
  const float* bias = nullptr;
  bool wide = N % kPackWidth<T> == 0 && aligned(partial, 16);
  __device__ float* row(int m, int piece) const {
    return partial + (std::int64_t{piece} * M + m) * N;
  }
};

// Stores neighbouring results of row m from column n on, all those that there are: at once where
// rows are wide. n is a multiple of `count`.
template <int count, class Store>
__device__ void store_neighbours(const Store& store, int m, int n, int piece,
                                 const Pack<typename Store::T, count>& values) {
  if (m >= store.M || n >= store.N) return;
  auto* to = store.row(m, piece) + n;
  if (store.wide) {
    store_pack(to, values);
  } else {
    TAPESCOPE_UNROLL
    for (int j = 0; j < count; ++j) {
      if (n + j < store.N) to[j] = values[j];
    }
  }
}

// One product, as a kernel takes it. Where blockIdx.z counts several, part(z) is one of them.
template <class OperandA, class OperandB, class Results>
struct Product {
  using A = OperandA;
  using B = OperandB;
  using Store = Results;
  A a;
  B b;
  Store store;
  int K;
  int parts() const { return 1; }
  int rows() const { return store.M; }  // of the largest part
  void step(int BK) {
    a.step(BK);
    b.step(BK);
  }
  __device__ const Product& part(int) const { return *this; }
};

// y[i] = sum of partial[piece][i], in their order. partial: {pieces, n}, y: {n}
template <class T>
__global__ void sum_pieces(const float* partial, T* y, std::int64_t n, int pieces) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float sum = 0;
  for (int piece = 0; piece < pieces; ++piece) sum += partial[piece * n + i];
  y[i] = static_cast<T>(sum);
}

}  // namespace tapescope::TAPESCOPE_GPU
