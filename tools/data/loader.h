// Batches of a data set, prepared ahead by threads of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tools/data/sample_source.h"

namespace tapescope {

struct Batch {
  std::vector<std::pair<std::string, Tensor>> tensors;  // {N, ...} each, as the source names them
  std::vector<std::int64_t> indices;                    // N positions in the data set
  std::int64_t epoch = 0;
  std::int64_t number = 0;                   // within the epoch, from 0
  std::int64_t first_row = 0, all_rows = 0;  // where several share it: which row the first one is

  std::int64_t rows() const { return static_cast<std::int64_t>(indices.size()); }
  // "image" f32 {N, H, W, C}, "label" i64 {N}, ...; a usage error where there is none of that name.
  const Tensor& operator[](std::string_view name) const;
};

struct LoaderOptions {
  std::int64_t batch_size = 16;
  bool shuffle = false;  // a permutation of its own each epoch, keyed by (seed, epoch)
  std::uint64_t seed = 0;
  int threads = 2;             // 0: batches are made by the caller, in next()
  int prefetch = 4;            // batches prepared ahead, at most; at least 1 with threads
  bool drop_last = false;      // leave out an epoch's last batch where it is not full
  int rank = 0, ranks = 1;     // of the processes that share each batch: piece_of() it (share.h)
  bool across_epochs = false;  // prepare the next epoch's first batches while this one ends
};

// The batches are the same whatever the number of threads, and whether or not the epochs before
// were run: random numbers are keyed by (seed, epoch, position in the data set).
//
//   Loader loader(data, pipeline, {.batch_size = 64, .shuffle = true});
//   for (std::int64_t epoch = 0; epoch < epochs; ++epoch) {
//     loader.start(epoch);
//     for (Batch batch; loader.next(batch);) { ... }
//   }
class Loader {
 public:
  // Throws a usage error on an empty source, or options out of range.
  Loader(std::shared_ptr<const SampleSource> source, LoaderOptions options);
  // Of labelled pictures.
  Loader(std::shared_ptr<const Dataset> data, Pipeline pipeline, LoaderOptions options);
  ~Loader();  // at any time; waits for the pictures in work
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  std::int64_t batches() const;  // in one epoch
  std::int64_t samples() const;  // in one epoch
  // The order of the samples in an epoch, as positions in the data set.
  std::vector<std::int64_t> order(std::int64_t epoch) const;

  // The next batch will be number `batch` of `epoch`. Continuing where next() stopped costs
  // nothing; elsewhere what was prepared is dropped.
  void start(std::int64_t epoch, std::int64_t batch = 0);
  // False at the end of the epoch. Throws what went wrong with one of the batch's pictures: a usage
  // error naming the file that cannot be read, or the picture whose size differs from the others';
  // after it, only start() goes on.
  bool next(Batch& batch);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tapescope
