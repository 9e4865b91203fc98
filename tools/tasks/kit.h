// What Tapescope can learn: a kit for each task. kits() is the one list of them.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools/tasks/run.h"
#include "tools/tasks/training_setup.h"
#include "tools/training/config.h"
#include "tools/training/safetensors.h"

namespace tapescope::onnx {
struct Graph;
}

namespace tapescope::tasks {

class Kit {
 public:
  virtual ~Kit() = default;
  // As model files name it, under kTaskKey: "classification".
  virtual std::string_view name() const = 0;
  // What --model may name for it.
  virtual std::vector<std::string> models() const = 0;
  // Explanations where nobody names any: one of feature maps, one of relevance, one of gradients.
  virtual const char* usual_methods() const = 0;
  // Whether a training with these options is of this task, where --task does not say it. The
  // first of kits() that says so gets it.
  virtual bool takes(const TrainConfig& config) const = 0;
  // Whether a model file of before kTaskKey is of this task.
  virtual bool wrote(const SafetensorsFile& file) const = 0;
  // A usage error that names the file and what is wrong, as load_model's.
  virtual std::unique_ptr<Run> open(SafetensorsFile& file, RunRequest asked,
                                    const LoadOptions& options) const = 0;
  // The net of the ONNX file that `asked` names as its run, and that was read and cut as it says:
  // takes the graph, or leaves it as it is and answers null where it is of another task.
  virtual std::unique_ptr<Run> open_onnx(const RunRequest& asked, onnx::Graph& graph) const {
    return (void)asked, (void)graph, nullptr;
  }
  // An untrained model of one of models(). 0 classes and size: the usual ones.
  virtual std::unique_ptr<Run> make(ModelConfig config) const = 0;
  // All of a training that depends on its task, from the data on. What was left to choose is
  // written into `config`.
  virtual TrainingSetup prepare(TrainConfig& config, const TrainingRequest& request) const = 0;
};

inline constexpr const char* kTaskKey = "tapescope.task";

std::span<const Kit* const> kits();
// Throws a usage error where there is none.
const Kit& kit_named(std::string_view name);
const Kit& kit_for(const TrainConfig& config);

// Opens the model file that is asked for. What it notices goes to stderr.
std::unique_ptr<Run> open_run(const RunRequest& asked);
// An untrained model.
std::unique_ptr<Run> new_run(const ModelConfig& config);
// Every name that --model may have.
std::vector<std::string> model_names();

}  // namespace tapescope::tasks
