// Which of the pictures that a folder's layout offers belong to which split.
#pragma once

#include <functional>

#include "tools/data/dataset.h"

namespace tapescope {

struct DivisionRules {
  // A draw takes some of every stratum; empty: of every class.
  std::function<std::int64_t(const Dataset& data, std::int64_t index)> stratum = {};
  // What several folders hold stays in the split of each, which is said.
  bool repeated_stay = false;
};

// On entry splits.train, validation and test are what the folders hold, null where there is none.
//
// * A picture that options.record names goes where the record says, whatever folder it lies in.
//   One that it does not name joins test only, or under options.resume the split of its folder or
//   its draw. A record that names none of the pictures is of other data and is ignored.
// * Otherwise folders decide; test, then the limit, then validation are drawn from train by content
//   where no folder holds them. A picture that is in several splits stays in the first of train,
//   validation and test: what was learnt cannot test.
// * Draw::stratified: of each class the exact share, by position, and nothing else.
//
// What is left out of all splits is splits.unused. Each departure is counted in splits.notices, or
// in splits.changes under options.resume.
void divide(DataSplits& splits, const DataOptions& options, const DivisionRules& rules = {});

// Whether pictures are too many to be read before the training, and are known by their heads, which
// is said in `notices`: as options.record has it where it names any, whose hashes are compared with
// theirs. `measured` finds how many files there are, and their bytes.
struct FileSizes {
  std::uintmax_t files = 0, bytes = 0;
};
bool by_heads(const DataOptions& options, const std::function<FileSizes()>& measured,
              std::vector<std::string>& notices);

// A usage error for fractions, limits and numbers of channels that are none.
void check_options(const DataOptions& options);

// What RUN/split.tsv says of these splits.
SplitRecord record_of(const DataSplits& splits);

}  // namespace tapescope
