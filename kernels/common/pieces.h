// A sum over the rows of a batch that is cut into pieces, added as a balanced tree: the same bits
// whoever makes which pieces.
#pragma once

#include <cstdint>

namespace tapescope {

struct RowRange {
  std::int64_t first = 0, count = 0;
};

// Piece i of `pieces`, a power of two, of `rows`: halves, and halves of those, the first of two
// being the smaller one where they differ. What a half has is cut as the whole is, so a process
// that has a half, or a quarter, knows where its pieces end without knowing the others' rows.
inline RowRange piece_of(std::int64_t rows, std::int64_t i, std::int64_t pieces) {
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

// ((0 + 1) + (2 + 3)) and so on with one buffer a level: make(i, level) makes piece i in a buffer,
// add(to, from) adds the buffer `from` to the one before it. The sum is in buffer 0.
template <class Make, class Add>
void sum_pieces(std::int64_t pieces, Make&& make, Add&& add) {
  int level = 0;  // the next free one
  for (std::int64_t i = 0; i < pieces; ++i) {
    make(i, level++);
    for (std::int64_t n = i + 1; n % 2 == 0; n /= 2) {
      --level;
      add(level - 1, level);
    }
  }
}
// How many buffers that takes.
inline std::int64_t piece_levels(std::int64_t pieces) {
  std::int64_t levels = 1;
  for (; pieces > 1; pieces /= 2) ++levels;
  return levels;
}

}  // namespace tapescope
