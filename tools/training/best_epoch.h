// Which epoch's weights are kept as `best`.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

namespace tapescope {

// The highest of many scores is a lucky one where few images give them: of sixty epochs judged by
// 15 images the highest is chosen by noise. So epochs are compared by the mean of the scores that
// end with each, over as many epochs as judge 500 images together, one where there are so many; of
// equal ones the last counts. Until there are so many epochs the last is the best.
// bench/FIGURES.md has the accuracies that this and other numbers than 500 give.
struct BestEpoch {
  static constexpr std::int64_t kImages = 500;

  std::int64_t epoch = 0;      // 0: there was none
  double score = -1;           // its own
  double mean = -1;            // what others are compared with
  std::vector<double> recent;  // scores of the last epochs, as many as a mean is of

  static std::int64_t epochs_of_a_mean(std::int64_t images) {
    return images >= kImages || images <= 0 ? 1 : (kImages + images - 1) / images;
  }
  // Takes an epoch's score on so many images; whether it is the best so far.
  bool judge(std::int64_t number, double its_score, std::int64_t images) {
    const auto wanted = static_cast<std::size_t>(epochs_of_a_mean(images));
    recent.push_back(its_score);
    if (recent.size() > wanted) recent.erase(recent.begin());
    const bool enough = recent.size() == wanted;
    const double now =
        std::accumulate(recent.begin(), recent.end(), 0.0) / static_cast<double>(recent.size());
    if (enough && now < mean) return false;
    epoch = number;
    score = its_score;
    mean = enough ? now : -1;
    return true;
  }
};

}  // namespace tapescope
