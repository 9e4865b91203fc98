// Loss and predictions on an evaluation tape over the model's own parameters.
#pragma once

#include "tools/training/shared_batch.h"
#include "tools/training/staging.h"
#include "tools/training/task.h"

namespace tapescope {

class Evaluator {
 public:
  // `cuts`: recorded paths whose values batches hold in place of the picture. `chunks` and `ranks`
  // as in CompileOptions: all ranks that share each batch get the metrics of one process, to the
  // bit.
  Evaluator(const Model& model, const Task& task, std::int64_t batch_size, const Backend& backend,
            std::shared_ptr<SharedArena> arena = {}, std::span<const std::string> cuts = {},
            int chunks = 1, Communicator* ranks = nullptr);
  std::unique_ptr<Metrics> over(Loader& loader);

 private:
  const Task& task_;
  Program program_;
  Staging staging_;
  Communicator* ranks_;
};

}  // namespace tapescope
