#include "autograd/program/recompute.h"

#include <algorithm>

#include "autograd/program/draft.h"

namespace tapescope {
namespace {

// Bytes.
std::size_t arena_of(const Draft& draft) {
  std::vector<BufferLife> buffers = draft.lives.buffers;
  return plan_memory(buffers);
}

// Looks for what to drop, one value after the other.
class Search {
 public:
  Search(const LoweredProgram& program, const Needs& needs)
      : program_(program), needs_(needs), drafts_(program, needs), bound_(drafts_.bound()) {
    keep_all();
    look();
  }

  std::size_t arena() const { return arena_of(draft_); }  // as it stands
  // Drops values until the arena is within `limit`. Where it cannot be: false, and the draft is the
  // smallest that was found, the same for all such limits.
  bool fit(std::size_t limit) {
    if (!reach(limit) && shrink() > limit) return false;
    take_back(limit);
    return true;
  }
  const Draft& draft() const { return draft_; }
  const std::vector<int>& cuts() const { return cuts_of_; }

 private:
  struct Candidate {
    std::vector<std::pair<int, int>> cuts;  // root, its last step in the forward pass
    double cost = 0;                        // see cost_of
    bool expensive = false;                 // a convolution or a matrix product is among them
    double score = 0;
  };

  std::size_t roots() const { return program_.values.size(); }

  void keep_all() {
    cuts_of_.assign(roots(), Draft::kKept);
    passed_over_.assign(roots(), false);
  }
  bool reach(std::size_t limit) {
    if (limit < bound_) return false;
    aim_at(limit);
    while (true) {
      if (draft_.largest() > target_) {
        if (!drop_one() && !keep_one()) return false;
        continue;
      }
      const std::size_t packed = arena();
      if (packed <= limit) return true;
      // Buffers do not lie without gaps: fewer bytes do.
      aim_at(target_ - std::min(target_, std::max(packed - limit, limit / 256)));
    }
  }
  // From the beginning, a target after the other, each half as far above what no draft is below: a
  // distant one does not tell the steps apart that are in the way of the next. Returns the arena.
  std::size_t shrink() {
    keep_all();
    look();
    do {
      aim_at(bound_ + (std::max(draft_.largest(), bound_) - bound_) / 2);
      while (draft_.largest() > target_ && (drop_one() || keep_one())) continue;
    } while (draft_.largest() <= target_ && target_ > bound_);
    return arena();
  }

  void look() {
    drafts_.make(cuts_of_, draft_);
    aim_at(target_);
  }
  void aim_at(std::size_t target) {
    target_ = target;
    earlier_.assign(roots(), {-1, 0});
    excess_ = draft_.excess(target_);
    total_ = 0;
    for (double bytes : excess_) total_ += bytes;
  }

  // The step's arithmetic and its memory, as bytes.
  double cost_of(int step) const {
    constexpr double kFlopsInTheTimeOfAByte = 8;
    const Cost cost = drafts_.cost(step);
    return cost.flops / kFlopsInTheTimeOfAByte + cost.bytes + 1;
  }
  double bytes_of(int root) const {
    return static_cast<double>(needs_.types[as_index(root)].bytes());
  }

  // What lies above the target from step `a` to step `b`, both left out, and goes with `bytes`.
  double saving(int a, int b, double bytes) const {
    double sum = 0;
    for (int t = a + 1; t < b; ++t) sum += std::min(bytes, excess_[as_index(t)]);
    return sum;
  }

  // Adds to `c` what must be computed for `root` to be known before step b: its maker, and those of
  // what that reads and is not there any more. False where something may not be computed again.
  bool close(int root, int cut, int b, Candidate& c, double& gain) const {
    constexpr std::size_t kMost = 64;
    if (!drafts_.may_repeat(root) || c.cuts.size() >= kMost) return false;
    c.cuts.emplace_back(root, cut);
    const int maker = program_.values[as_index(root)].source;
    c.cost += cost_of(maker);
    c.expensive = c.expensive || drafts_.cost(maker).macs > 0;
    for (const int other : drafts_.read_by(maker)) {
      const std::vector<int>& uses = draft_.uses[as_index(other)];
      if (uses.back() >= b) {
        gain -= lost_earlier(other, b);
        continue;
      }
      const auto is_it = [&](const auto& known) { return known.first == other; };
      if (std::any_of(c.cuts.begin(), c.cuts.end(), is_it)) continue;
      constexpr double kSmall = 4;  // it is kept where it is so much smaller
      if (bytes_of(other) * kSmall <= bytes_of(root)) {
        gain -= saving(uses.back(), b, bytes_of(other));
      } else if (!close(other, uses.back(), b, c, gain)) {
        return false;
      }
    }
    return true;
  }

  // What is lost where `root`, computed again at a later step, is known from step b on.
  double lost_earlier(int root, int b) const {
    if (earlier_[as_index(root)].first == b) return earlier_[as_index(root)].second;
    double lost = 0;
    const int cut = cuts_of_[as_index(root)];
    const std::vector<int>& uses = draft_.uses[as_index(root)];
    const int now = b <= cut ? b : *std::upper_bound(uses.begin(), uses.end(), cut);
    if (now > b) {  // else the first one serves
      lost = saving(b, now, bytes_of(root));
      for (const int other : drafts_.read_by(program_.values[as_index(root)].source)) {
        if (draft_.uses[as_index(other)].back() >= b) lost += lost_earlier(other, b);
      }
    }
    earlier_[as_index(root)] = {b, lost};
    return lost;
  }

  Candidate candidate(int root) const {
    Candidate best;
    const std::vector<int>& uses = draft_.uses[as_index(root)];
    for (std::size_t k = 0; k + 1 < uses.size(); ++k) {
      const int a = uses[k], b = uses[k + 1];
      if (b >= drafts_.first_effect()) break;
      double gain = saving(a, b, bytes_of(root));
      Candidate c;
      if (gain <= 0 || !close(root, a, b, c, gain)) continue;
      c.score = gain / c.cost;
      if (c.score > best.score) best = std::move(c);
    }
    return best;
  }

  // The best of those that help; cheap ones first.
  bool drop_one() {
    std::vector<Candidate> all;
    for (std::size_t v = 0; v < roots(); ++v) {
      const int root = static_cast<int>(v);
      if (passed_over_[v] || cuts_of_[v] != Draft::kKept || !drafts_.may_repeat(root)) continue;
      Candidate c = candidate(root);
      if (c.score > 0) all.push_back(std::move(c));
    }
    std::stable_sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
      return a.expensive != b.expensive ? b.expensive : a.score > b.score;
    });
    const double before = total_;
    for (const Candidate& c : all) {
      const std::vector<int> kept = cuts_of_;
      for (const auto& [root, cut] : c.cuts) cuts_of_[as_index(root)] = cut;
      look();
      if (draft_.valid && total_ < before) return true;
      cuts_of_ = kept;
      passed_over_[as_index(c.cuts[0].first)] = true;
    }
    return look(), false;
  }

  // Where dropping helps no more: what is dropped may be too much at a time. Keeps the value that
  // helps most, such as one in the middle of a long segment.
  bool keep_one() {
    constexpr double kWorthIt = 0.99;
    double best = kWorthIt * total_;
    int kept = -1;
    for (std::size_t v = 0; v < roots(); ++v) {
      if (cuts_of_[v] == Draft::kKept) continue;
      const int cut = std::exchange(cuts_of_[v], Draft::kKept);
      look();
      if (draft_.valid && total_ < best) {
        best = total_;
        kept = static_cast<int>(v);
      }
      cuts_of_[v] = cut;
    }
    if (kept >= 0) {
      cuts_of_[as_index(kept)] = Draft::kKept;
      passed_over_.assign(roots(), false);  // what did not help before may help now
      passed_over_[as_index(kept)] = true;
    }
    return look(), kept >= 0;
  }

  // What turned out to be dropped in vain, the dearest first.
  void take_back(std::size_t limit) {
    std::vector<int> dropped;
    for (std::size_t v = 0; v < roots(); ++v) {
      if (cuts_of_[v] != Draft::kKept) dropped.push_back(static_cast<int>(v));
    }
    std::stable_sort(dropped.begin(), dropped.end(), [&](int a, int b) {
      return cost_of(program_.values[as_index(a)].source) >
             cost_of(program_.values[as_index(b)].source);
    });
    for (int root : dropped) {
      const int cut = std::exchange(cuts_of_[as_index(root)], Draft::kKept);
      look();
      if (!draft_.valid || draft_.largest() > limit || arena() > limit)
        cuts_of_[as_index(root)] = cut;
    }
    look();
  }

  const LoweredProgram& program_;
  const Needs& needs_;
  Drafts drafts_;
  std::size_t bound_;  // no draft is below
  std::vector<int> cuts_of_;
  std::vector<bool> passed_over_;  // by root: it did not help
  std::size_t target_ = 0;         // of the bytes that live at any step
  Draft draft_;
  std::vector<double> excess_;  // by recorded step: bytes above the target
  double total_ = 0;            // of them
  // By root: lost_earlier at a step, as long as the draft and the target are these.
  mutable std::vector<std::pair<int, double>> earlier_;
};

Needs needs_at(std::int64_t rows, const LoweredProgram& program, const Backend& backend,
               const CompileOptions& options) {
  return needs_of(program, types_at(program, rows), backend,
                  {options.join_steps, options.keep_fixed, options.keep_fixed, true});
}

// How many rows fit, by `cuts` of other rows, and then by a search of their own.
std::int64_t rows_that_fit(const LoweredProgram& program, const Backend& backend,
                           const CompileOptions& options, bool again, const std::vector<int>& cuts,
                           std::int64_t rows) {
  const auto fits = [&](std::int64_t rows, bool by_search) {
    const Needs needs = needs_at(rows, program, backend, options);
    const std::size_t beside = needs.beside.total();
    if (beside > options.memory_limit) return false;
    const std::size_t limit = options.memory_limit - beside;
    if (by_search) return Search(program, needs).fit(limit);
    Draft draft;
    Drafts(program, needs).make(cuts, draft);
    return arena_of(draft) <= limit;
  };
  std::int64_t fit = 0;
  for (std::int64_t above = rows; above - fit > 1;) {
    const std::int64_t middle = fit + (above - fit) / 2;
    (fits(middle, false) ? fit : above) = middle;
  }
  while (again && fit > 0 && !fits(fit, true)) fit = fit * 7 / 8;
  return fit;
}

[[noreturn]] void refuse(const CompileOptions& options, bool again, std::size_t unlimited,
                         std::size_t smallest, std::int64_t rows, std::int64_t fit) {
  throw MemoryLimitError(
      usage_error("[compile] the memory limit is {} bytes, but a batch of {} rows needs {}{}; {}",
                  options.memory_limit, rows, smallest,
                  again ? fmt::format(", {} where nothing is computed again", unlimited)
                        : " where nothing is computed again (the pass recompute is left out)",
                  fit > 0 ? fmt::format("make it {} rows, or the limit as large as that", fit)
                          : "not even one row fits: make the limit larger"),
      smallest, fit);
}

}  // namespace

void keep_within_limit(LoweredProgram& program, const Backend& backend,
                       const CompileOptions& options, bool again) {
  if (options.memory_limit == 0) return;
  const Needs needs = needs_at(options.memory_rows, program, backend, options);
  Search search(program, needs);
  const std::size_t beside = needs.beside.total(), unlimited = beside + search.arena();
  program.recomputed.unlimited = unlimited;
  if (unlimited <= options.memory_limit) return;
  const bool room = beside < options.memory_limit;
  if (again && search.fit(room ? options.memory_limit - beside : 0) && room) {
    search.draft().put_into(program, needs.types);
    return;
  }
  const std::int64_t rows = options.memory_rows > 0 ? options.memory_rows : recorded_rows(program);
  refuse(options, again, unlimited, std::min(unlimited, beside + search.arena()), rows,
         rows_that_fit(program, backend, options, again, search.cuts(), rows));
}

}  // namespace tapescope
