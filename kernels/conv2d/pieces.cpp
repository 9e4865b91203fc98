#include "kernels/conv2d/pieces.h"

#include <cstring>
#include <memory>
#include <vector>

#include "kernels/common/numeric.h"
#include "kernels/common/pieces.h"

namespace tapescope {
namespace {

struct Pieces {
  Conv2dShape c;
  std::vector<RowRange> rows;
  std::vector<Plan> plans;  // empty where there are no rows
  std::size_t workspace = 0;

  std::int64_t weights() const { return c.O * c.KH * c.KW * (c.I / c.groups); }
  std::size_t sum_bytes() const {  // padded to whole lines
    return (static_cast<std::size_t>(weights()) * size_of(wide(c.dtype)) + 63) / 64 * 64;
  }
  template <class A>
  void add(void* to, const void* from) const {
    for (std::int64_t i = 0; i < weights(); ++i) {
      static_cast<A*>(to)[i] += static_cast<const A*>(from)[i];
    }
  }
  void run(const Queue& queue, const Buffers& b) const {
    char* const levels = static_cast<char*>(b.workspace) + workspace;
    const auto buffer = [&](int level) -> void* {
      return level == 0 ? b.out[0] : levels + static_cast<std::size_t>(level - 1) * sum_bytes();
    };
    const std::int64_t x_row = c.H * c.W * c.I, y_row = c.P() * c.Q() * c.O;
    const auto at = [&](int k, std::int64_t element) {
      return static_cast<const char*>(b.in[k]) +
             static_cast<std::size_t>(element) * size_of(c.dtype);
    };
    sum_pieces(
        c.pieces,
        [&](std::int64_t i, int level) {
          const auto k = static_cast<std::size_t>(i);
          if (rows[k].count == 0) {
            std::memset(buffer(level), 0, sum_bytes());
            return;
          }
          const void* const in[] = {at(0, rows[k].first * x_row), at(1, rows[k].first * y_row),
                                    nullptr};
          void* const out[] = {buffer(level), nullptr};
          plans[k].run(queue, {in, out, b.workspace});
        },
        [&](int to, int from) {
          c.dtype == DType::f64 ? add<double>(buffer(to), buffer(from))
                                : add<float>(buffer(to), buffer(from));
        });
  }
};

}  // namespace

Plan weight_gradient_by_pieces(const Conv2dShape& c, Plan (*prepare)(const Conv2dShape&)) {
  if (c.pieces == 0) return prepare(c);
  auto all = std::make_unique<Pieces>();
  all->c = c;
  std::string_view name;
  for (std::int64_t i = 0; i < c.pieces; ++i) {
    all->rows.push_back(piece_of(c.N, i, c.pieces));
    Conv2dShape piece = c;
    piece.N = all->rows.back().count;
    piece.pieces = 0;
    all->plans.push_back(piece.N > 0 ? prepare(piece) : Plan());
    if (piece.N == 0) continue;
    name = all->plans.back().variant();
    all->workspace = std::max(all->workspace, all->plans.back().workspace_bytes());
  }
  all->workspace = (all->workspace + 63) / 64 * 64;
  const std::size_t bytes =
      all->workspace + static_cast<std::size_t>(piece_levels(c.pieces) - 1) * all->sum_bytes();
  return Plan(name, bytes,
              [all = std::move(all)](const Queue& queue, const Buffers& b) { all->run(queue, b); });
}

}  // namespace tapescope
