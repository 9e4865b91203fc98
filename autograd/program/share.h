// How a batch is cut: into pieces for the sums over its rows, and among processes.
#pragma once

#include <cstdint>

namespace tapescope {

// The input that a Program has besides where processes share a batch and something random is drawn:
// i64 {}, the first row's place in the batch.
inline constexpr const char* kFirstRow = "first_row";

struct RowRange {
  std::int64_t first = 0, count = 0;
};

// Piece i of `pieces`, a power of two, of `rows`: halves, and halves of those, the first of two
// being the smaller one where they differ. What a half has is cut as the whole is, so a process
// that has a half, or a quarter, knows where its pieces end without knowing the others' rows.
inline RowRange piece_of(std::int64_t rows, int i, int pieces) {
  RowRange piece{0, rows};
  for (; pieces > 1; pieces /= 2) {
    const std::int64_t half = piece.count / 2;
    if (i < pieces / 2) {
      piece.count = half;
    } else {
      piece = {piece.first + half, piece.count - half};
      i -= pieces / 2;
    }
  }
  return piece;
}

}  // namespace tapescope
