// What is done to a lowered Program before it is specialised: the same values by less work.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "autograd/program/rewrite.h"

namespace tapescope {

struct Pass {
  std::string_view name;
  std::string_view what;   // one line
  void (*run)(Rewriter&);  // null: it has a place of its own, behind these
  bool bits = true;        // whether every value keeps its bits; else it changes by rounding
  // Only in Programs that change no parameter and keep what depends on parameters alone: it makes
  // new weights.
  bool keeps_fixed = false;
};

// In the order in which they run.
std::span<const Pass> passes();
std::string names_of_passes();  // with commas

// By CompileOptions::without, or TAPESCOPE_WITHOUT_PASSES.
bool is_left_out(std::string_view pass, const CompileOptions& options);

// All of them but those that CompileOptions::without names, and TAPESCOPE_WITHOUT_PASSES in the
// environment: names with commas, or "all". A name that is none is an error that lists them.
void run_passes(LoweredProgram& program, const Backend& backend, const CompileOptions& options);

// Each beside the ops that it makes.
void fuse_dropout(Rewriter& r);
void fuse_batch_norm(Rewriter& r);
void fuse_max_pool(Rewriter& r);
void fold_batch_norm(Rewriter& r);
void fuse_convolution(Rewriter& r);
void merge_common_steps(Rewriter& r);
void fold_constants(Rewriter& r);

}  // namespace tapescope
