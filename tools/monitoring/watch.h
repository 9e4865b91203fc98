// When did the network learn to look at the right thing: explanations of a few images, kept while
// it trains.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "autograd/explain/explainer.h"
#include "tools/explanation/class_logits.h"
#include "tools/monitoring/history.h"

namespace tapescope::monitoring {

// Explains on evaluation tapes over the parameters that are being trained: recorded once.
class Watch {
 public:
  // folder: pictures, or folders of them named after classes. Then the picture's class is what is
  // explained, else the class predicted at the time. Pictures are drawn into `run`/watch. Throws
  // usage errors on an empty folder, pictures that do not suit the model, unknown methods.
  Watch(const std::filesystem::path& folder, std::vector<std::string> methods, ClassLogits net,
        const Backend& backend, std::filesystem::path run);

  std::vector<WatchPoint> look(std::int64_t epoch);
  // The picture drawn for a point.
  Image picture_of(const WatchPoint& point) const;

 private:
  struct Watched {
    Picture picture;
    std::int64_t label = -1;
  };
  std::vector<std::string> methods_;
  const ClassLogits net_;
  explain::Explainer explainer_;
  std::filesystem::path run_;
  std::vector<Watched> watched_;
};

}  // namespace tapescope::monitoring
