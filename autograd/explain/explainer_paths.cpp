// Methods that take the gradient at many points, or relative to a reference.
#include <algorithm>

#include "autograd/explain/deeplift.h"
#include "autograd/explain/explainer_parts.h"
#include "autograd/explain/target.h"
#include "autograd/ops/ops.h"

namespace tapescope::explain {
namespace {

// The map of one path, which begins at `start`: by these points, or of so many steps.
using OnePath =
    std::function<Estimate(const Tensor& start, const std::vector<PathPoint>& points, int steps)>;

// The mean over paths from all baselines. In forward passes: `a_step`, and `a_start` beside the
// target.
Attribution along_paths(const Request& request, Prepared& gradient, double a_step, double a_start,
                        const OnePath& path) {
  const ExplainOptions& options = request.options;
  const std::vector<Tensor> baselines = request.baselines();
  const auto count = static_cast<double>(baselines.size());
  const double besides = 1 + count * (1 + a_start);
  const double affordable = (options.budget - besides) / a_step / count;
  const int steps = std::max(3, static_cast<int>(std::min<double>(options.steps, affordable)));
  // Gauss-Legendre tells its error from half as many points of their own.
  const std::vector<PathPoint> points = quadrature(
      options.rule, options.rule == PathRule::gauss_legendre ? std::max(3, steps * 2 / 3) : steps);
  const Scores scores = request.scores();
  Attribution result;
  result.node = gradient.node;
  result.value = scores(request.image);
  Tensor change = result.value.clone();
  const double share = 1.0 / count;
  int taken = 0;
  for (const Tensor& start : baselines) {
    add_share(change, scores(start), -share);
    const Estimate part = path(start, points, steps);
    add_share(result.map, part.map, share);
    add_share(result.error_estimate, part.error, share);
    taken += part.points;
  }
  result.residual = residual_of(change, result.map);
  result.forward_passes = a_step * taken + besides;
  if (steps < options.steps) result.note = cut_to(steps, options.steps, "steps");
  return result;
}

Prepared& layer_gradient(const Request& request) {
  return request.programs.prepared("layer-gradient", request.layer(), [](Recording& r) {
    return r.tape.gradient(r.target, {r.at_layer()});
  });
}

// The mean over as many draws as the budget pays for, where `besides` is spent on other things.
Attribution from_draws(const Request& request, double besides,
                       const std::function<Estimate(const Gradients& slope, int draws)>& estimate) {
  const ExplainOptions& options = request.options;
  Prepared& gradient = request.programs.gradient();
  const double a_draw = request.programs.in_forwards(gradient, 2);
  const int draws = std::max(
      2, static_cast<int>(std::min<double>(options.draws, (options.budget - besides) / a_draw)));
  Attribution result;
  result.node = gradient.node;
  result.value = request.scores()(request.image);
  const Estimate mean = estimate(request.at_points(gradient), draws);
  result.map = mean.map;
  result.error_estimate = mean.error;
  result.forward_passes = a_draw * mean.points + besides;
  if (draws < options.draws) result.note = cut_to(draws, options.draws, "draws");
  return result;
}

// The mean over these references.
Attribution from_references(const Request& request, const std::vector<Tensor>& references) {
  Programs& programs = request.programs;
  Prepared& method = programs.prepared("deeplift", "", [&](Recording& r) {
    const Var baseline = r.tape.input("baseline", DType::f32, programs.image_shape.with_leading(2));
    const Var at_baseline = class_logit(programs.record(r.tape, baseline), r.index);
    const Var map = deeplift(r.tape, r.target, r.image, at_baseline, baseline);
    return std::vector<Var>{map, r.target, sub(r.target, at_baseline)};
  });
  Attribution result;
  result.node = method.node;
  const auto count = static_cast<double>(references.size());
  Tensor change;
  for (const Tensor& baseline : references) {
    std::vector<Tensor> out = method.program.run(
        {{"image", request.image}, {"class", request.classes}, {"baseline", baseline}});
    add_share(result.map, out[0], 1.0 / count);
    add_share(change, out[2], 1.0 / count);
    result.value = std::move(out[1]);
  }
  result.residual = residual_of(change, result.map);
  result.forward_passes = count * programs.in_forwards(method, 3);
  return result;
}

}  // namespace

namespace {

// The mean gradient is taken behind the net's affine start, and goes through that once.
Attribution behind_affine_start(const Request& request, Prepared& start) {
  Programs& programs = request.programs;
  Prepared& gradient = programs.prepared("affine-tail", start.node, [&](Recording& r) {
    r.cuts = {r.tape.find(start.node)};
    return r.tape.gradient(r.target, r.cuts);
  });
  Prepared& back = programs.prepared("affine-back", start.node, [&](Recording& r) {
    const Var value = r.tape.find(start.node);
    return r.tape.gradient(value, {r.image},
                           r.tape.input("cotangent", value.dtype(), value.shape()));
  });
  const auto value = [&](const Tensor& x) { return start.program.run({{"image", x}})[0]; };
  const Gradients slope = request.at_points(gradient);
  const double once = programs.in_forwards(start, 1);
  return along_paths(
      request, gradient, programs.in_forwards(gradient, 2), 4 * once,
      [&](const Tensor& from, const auto& points, int) {
        const AffineStart affine{
            value(request.image), value(from), [&](const Tensor& cotangent) {
              return back.program.run({{"image", request.image}, {"cotangent", cotangent}})[0];
            }};
        return explain::integrated_gradients(slope, affine, request.image, from, points,
                                             request.options.chunk);
      });
}

}  // namespace

Attribution runs::integrated_gradients(const Request& request) {
  if (Prepared* start = request.programs.affine_start()) {
    return behind_affine_start(request, *start);
  }
  Prepared& gradient = request.programs.gradient();
  const Gradients slope = request.at_points(gradient);
  return along_paths(request, gradient, request.programs.in_forwards(gradient, 2), 0,
                     [&](const Tensor& start, const auto& points, int) {
                       return explain::integrated_gradients(slope, request.image, start, points,
                                                            request.options.chunk);
                     });
}

// The path is one of the node's values, and the tail's gradient is taken on it.
Attribution runs::layer_integrated_gradients(const Request& request) {
  Prepared& gradient =
      request.programs.prepared("tail-gradient", request.layer(), [](Recording& r) {
        r.cuts = {r.at_layer()};
        return r.tape.gradient(r.target, r.cuts);
      });
  Prepared& layer = request.programs.at_layer(request.layer());
  const Gradients slope = request.at_points(gradient);
  const auto value = [&](const Tensor& x) { return layer.program.run({{"image", x}})[0]; };
  return along_paths(request, gradient, request.programs.in_forwards(gradient, 2),
                     2 * request.programs.in_forwards(layer, 1),
                     [&](const Tensor& start, const auto& points, int) {
                       return explain::integrated_gradients(slope, value(request.image),
                                                            value(start), points,
                                                            request.options.chunk);
                     });
}

Attribution runs::internal_influence(const Request& request) {
  Prepared& gradient = layer_gradient(request);
  const Gradients slope = request.at_points(gradient);
  Attribution result = along_paths(request, gradient, request.programs.in_forwards(gradient, 2), 0,
                                   [&](const Tensor& start, const auto& points, int) {
                                     return path_gradient(slope, request.image, start, points,
                                                          request.options.chunk);
                                   });
  result.residual = {};  // it does not promise to add up
  return result;
}

// A step is a gradient and the node's value.
Attribution runs::conductance(const Request& request) {
  Prepared& gradient = layer_gradient(request);
  Prepared& layer = request.programs.at_layer(request.layer());
  const Gradients slope = request.at_points(gradient);
  const double a_value = request.programs.in_forwards(layer, 1);
  const auto value = [&](const Tensor& x) { return layer.program.run({{"image", x}})[0]; };
  return along_paths(request, gradient, request.programs.in_forwards(gradient, 2) + a_value,
                     a_value, [&](const Tensor& start, const auto&, int steps) {
                       return explain::conductance(slope, value, request.image, start, steps);
                     });
}

Attribution runs::from_noise(const Request& request, NoiseMean what) {
  const ExplainOptions& options = request.options;
  return from_draws(request, 1, [&](const Gradients& slope, int draws) {
    return noise_mean(slope, request.image,
                      relative_noise(request.image, options.noise, options.seed), what, draws,
                      options.chunk);
  });
}

Attribution runs::gradient_shap(const Request& request) {
  const ExplainOptions& options = request.options;
  const std::vector<Tensor> baselines = request.baselines();
  const auto count = static_cast<double>(baselines.size());
  Attribution result = from_draws(request, 1 + count, [&](const Gradients& slope, int draws) {
    return expected_gradients(slope, request.image, baselines, draws, options.seed, options.chunk);
  });
  Tensor change = result.value.clone();
  for (const Tensor& baseline : baselines) {
    add_share(change, request.scores()(baseline), -1.0 / count);
  }
  result.residual = residual_of(change, result.map);
  return result;
}

Attribution runs::deeplift(const Request& request) {
  return from_references(request, {request.baselines()[0]});
}

Attribution runs::deeplift_shap(const Request& request) {
  return from_references(request, request.baselines());
}

}  // namespace tapescope::explain
