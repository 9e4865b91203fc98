// Whether a map says what the model does: scores of changed pictures against the map's promises.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "autograd/explain/perturbation.h"
#include "tools/report/colormap.h"

namespace tapescope::quality {

using explain::Scores;  // here of one picture: f32 {M,H,W,C} -> f32 {M}

struct Curve {
  std::vector<double> share;  // of the positions that were changed, from 0 to 1
  std::vector<double> score;
  double area = 0;  // under the curve, by trapezoids
};

// Deletion (Petsiuk et al. 2018, arXiv 1806.07421): the picture's positions are replaced by those
// of `baseline` {1,H,W,C}, the map's largest first, in `steps` equal parts. A faithful map's score
// falls soon: small areas are good. The untouched picture is the first point.
Curve deletion(const Scores& scores, const Tensor& x, const Tensor& baseline, const Map& map,
               int steps = 20, int chunk = 8);
// Insertion: the other way about, from the baseline (a blurred picture, by custom) to the picture.
// Large areas are good.
Curve insertion(const Scores& scores, const Tensor& x, const Tensor& baseline, const Map& map,
                int steps = 20, int chunk = 8);

// ROAD (Rong et al. 2022, arXiv 2202.00449): positions are removed by noisy linear imputation,
// which leaves no edge to give away what was removed. The mean over 10, 30, 50, 70 and 90 % of
// half of (score without the least relevant) - (score without the most relevant).
double road(const Scores& scores, const Tensor& x, const Map& map, std::uint64_t seed,
            int chunk = 8);
// The picture with the positions in `removed` {H,W} imputed: each the mean of its neighbours
// (direct ones twice the diagonal ones), solved jointly, plus noise of deviation 0.01.
Tensor imputed(const Tensor& x, const std::vector<bool>& removed, std::uint64_t seed);

// Infidelity (Yeh et al. 2019, arXiv 1901.09392): the mean square of (what the map promises for a
// change) - (what the change does). `promised` and `actual`: one per draw.
double infidelity(const std::vector<double>& promised, const std::vector<double>& actual);
// The same after the best scale for the map, over the mean square of `actual`: from 0 (the map
// tells every change up to a scale) to 1 (it tells nothing), whatever the units of map and score.
// NaN where no change does anything.
double normalised_infidelity(const std::vector<double>& promised,
                             const std::vector<double>& actual);
// The standard error that this has from its draws, to first order in their means. NaN for fewer
// than two draws, and where no change does anything.
double normalised_infidelity_error(const std::vector<double>& promised,
                                   const std::vector<double>& actual);
struct Drawn {
  double value = 0, standard_error = 0;
};
// That, for squares of a quarter of the shorter side at random places, replaced by `baseline`; the
// map promises its sum over the square.
Drawn square_infidelity(const Scores& scores, const Tensor& x, const Tensor& baseline,
                        const Map& map, int draws, std::uint64_t seed, int chunk = 8);

// Max-sensitivity (the same paper): the largest relative change (Euclidean) of the map under
// `draws` uniform changes of every element by at most `radius` times the picture's range. 0 where
// the map stays zero, infinite where it does not.
using MapOf = std::function<Map(const Tensor& x)>;
double max_sensitivity(const MapOf& map_of, const Tensor& x, const Map& map, double radius,
                       int draws, std::uint64_t seed);

}  // namespace tapescope::quality
