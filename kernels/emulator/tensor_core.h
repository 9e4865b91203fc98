// Tensor cores, ldmatrix and cp.async for the emulator: the bodies of kernels/common/tensor_core.h.
#pragma once

#include "kernels/emulator/counters.h"
#include "kernels/emulator/cuda.h"

namespace tapescope::emulated {

// What a lane brings to a matrix multiply-add. The last lane to arrive multiplies for all.
struct MmaPart {
  float* d;           // {4}
  const unsigned* a;  // {4}
  const unsigned* b;  // {2}
};

// The fragment layouts of PTX: of lane l, g = l / 4 and t = l % 4. Element(row, k) of A is decoded
// by `a_of`, element (k, column) of B by `b_of`.
template <int K, class DecodeA, class DecodeB>
void multiply(void* const* lanes, DecodeA&& a_of, DecodeB&& b_of) {
  float a[16][K], b[K][8];
  for (unsigned lane = 0; lane < emulator::kWarpSize; ++lane) {
    const auto& part = *static_cast<const MmaPart*>(lanes[lane]);
    a_of(lane, part.a, a);
    b_of(lane, part.b, b);
  }
  for (unsigned lane = 0; lane < emulator::kWarpSize; ++lane) {
    const auto& part = *static_cast<const MmaPart*>(lanes[lane]);
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      float sum = part.d[i];
      for (int k = 0; k < K; ++k) sum += a[row][k] * b[k][column];
      part.d[i] = sum;
    }
  }
}

inline float low_bf16(unsigned pair) { return std::bit_cast<float>(pair << 16); }
inline float high_bf16(unsigned pair) { return std::bit_cast<float>(pair & 0xffff0000u); }

inline void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                              std::source_location at = std::source_location::current()) {
  emulator::Thread& self = *emulator::current;
  MmaPart part{d, a, b};
  self.block->collective(
      self, {"mma_m16n8k16_bf16", at}, ~0u, &part, [](void* const* lanes, unsigned) {
        multiply<16>(
            lanes,
            [](unsigned lane, const unsigned* from, float(*to)[16]) {
              for (unsigned i = 0; i < 4; ++i) {  // row g or g + 8, two columns from 2 t or 2 t + 8
                const unsigned row = lane / 4 + i % 2 * 8, k = lane % 4 * 2 + i / 2 * 8;
                to[row][k] = low_bf16(from[i]);
                to[row][k + 1] = high_bf16(from[i]);
              }
            },
            [](unsigned lane, const unsigned* from, float(*to)[8]) {
              for (unsigned i = 0; i < 2; ++i) {
                const unsigned k = lane % 4 * 2 + i * 8;
                to[k][lane / 4] = low_bf16(from[i]);
                to[k + 1][lane / 4] = high_bf16(from[i]);
              }
            });
      });
}

// The unit reads 19 bits of each operand: the rest is cut off.
inline float cut_tf32(unsigned bits) { return std::bit_cast<float>(bits & 0xffffe000u); }

inline void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                             std::source_location at = std::source_location::current()) {
  emulator::Thread& self = *emulator::current;
  MmaPart part{d, a, b};
  self.block->collective(
      self, {"mma_m16n8k8_tf32", at}, ~0u, &part, [](void* const* lanes, unsigned) {
        multiply<8>(
            lanes,
            [](unsigned lane, const unsigned* from, float(*to)[8]) {
              for (unsigned i = 0; i < 4; ++i) {
                to[lane / 4 + i % 2 * 8][lane % 4 + i / 2 * 4] = cut_tf32(from[i]);
              }
            },
            [](unsigned lane, const unsigned* from, float(*to)[8]) {
              for (unsigned i = 0; i < 2; ++i) to[lane % 4 + i * 4][lane / 4] = cut_tf32(from[i]);
            });
      });
}

// To the nearest number of 10 mantissa bits, ties away from zero, as cvt.rna does.
inline unsigned to_tf32(float x) {
  const unsigned bits = std::bit_cast<unsigned>(x);
  if ((bits & 0x7f800000u) == 0x7f800000u) return bits & 0xffffe000u;  // infinity and NaN
  return (bits + 0x1000u) & 0xffffe000u;
}

struct LdmatrixPart {
  unsigned* to;      // {4}
  const void* from;  // this lane's row of 16 bytes
};
template <bool transposed>
void load_matrices(void* const* lanes, unsigned) {
  for (unsigned lane = 0; lane < emulator::kWarpSize; ++lane) {
    const auto& part = *static_cast<const LdmatrixPart*>(lanes[lane]);
    for (unsigned matrix = 0; matrix < 4; ++matrix) {
      std::uint16_t pair[2];
      for (unsigned e = 0; e < 2; ++e) {
        // A lane gets row lane / 4, columns 2 (lane % 4) and the next, of the matrix or of its
        // transpose. Row r of matrix m was given by lane 8 m + r.
        const unsigned i = lane / 4, j = lane % 4 * 2 + e;
        const unsigned row = transposed ? j : i, column = transposed ? i : j;
        const auto& giver = *static_cast<const LdmatrixPart*>(lanes[matrix * 8 + row]);
        std::memcpy(&pair[e], static_cast<const std::uint16_t*>(giver.from) + column, 2);
      }
      part.to[matrix] = pair[0] | static_cast<unsigned>(pair[1]) << 16;
    }
  }
}
template <bool transposed>
void ldmatrix_x4(unsigned (&to)[4], const void* row,
                 std::source_location at = std::source_location::current()) {
  emulator::Thread& self = *emulator::current;
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) {
    self.block->fault(self, "ldmatrix is given a row that is not aligned to 16 bytes");
  }
  if (emulator::counting) emulator::count_access(row, 16, false, at.file_name() + at.line());
  LdmatrixPart part{to, row};
  self.block->collective(self, {"ldmatrix_x4", at}, ~0u, &part, load_matrices<transposed>);
}

// A copy may land at any moment between the call and its wait. Forward orders take the last one,
// and a missing wait reads what was there; reverse ones the first, and who still reads what it
// overwrites is found; shuffled ones toss a coin for each.
inline bool lands_at_once(const emulator::Thread& self) {
  const emulator::Schedule schedule = emulator::schedule();
  if (schedule.order != emulator::Order::shuffled) {
    return schedule.order == emulator::Order::reverse;
  }
  const std::uint64_t key = schedule.seed * 0x9E3779B97F4A7C15u + self.number * 1024u +
                            static_cast<std::uint64_t>(self.groups) * 8 + self.copies.size();
  return ((key * 0xBF58476D1CE4E5B9u) >> 63) != 0;
}
inline void cp_async_16(void* to, const void* from) {
  emulator::Thread& self = *emulator::current;
  if ((reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from)) % 16 != 0) {
    self.block->fault(self, "cp_async_16 is given an address that is not aligned to 16 bytes");
  }
  if (lands_at_once(self)) {
    std::memcpy(to, from, 16);
  } else {
    self.copies.push_back({to, from, self.groups});
  }
}
inline void cp_async_commit() { ++emulator::current->groups; }
template <int pending>
void cp_async_wait() {
  emulator::Thread& self = *emulator::current;
  std::size_t kept = 0;
  for (const emulator::Thread::Copy& copy : self.copies) {
    if (copy.group < self.groups - pending) {
      std::memcpy(copy.to, copy.from, 16);
    } else {
      self.copies[kept++] = copy;
    }
  }
  self.copies.resize(kept);
}

}  // namespace tapescope::emulated
