#include "tools/cli/cli.h"
#include "tools/tasks/kit.h"

namespace tapescope::cli {
namespace {

struct EvalArguments {
  RunOptions run;
  tasks::EvaluationRequest request;
  std::string on_bad_image = "fail";
  bool json = false;
};

int run(EvalArguments& options) {
  options.run.apply();
  const auto run = tasks::open_run(options.run);
  options.request.data.on_bad_image = bad_image_from(options.on_bad_image);
  return print(run->evaluate(options.request, options.run.backend()), options.json);
}

std::function<int()> setup_eval(CommandLine& line) {
  auto options = std::make_shared<EvalArguments>();
  options->run.add_with_model(line);
  options->run.add_precision(line);
  options->run.add_allow_outside(line);
  line.option("--data", options->request.data.folder,
              "folder with the split; a detector's is Pascal VOC, COCO or YOLO (or its data.yaml)")
      .required();
  line.option("--split", options->request.data.split, "train, validation or test").show_default();
  line.option("--batch-size", options->request.batch_size).show_default().range(1, 1 << 20);
  line.option("--loader-threads", options->request.loader_threads,
              "threads that prepare batches; 0: none of their own")
      .show_default();
  line.option("--on-bad-image", options->on_bad_image, "fail or skip")
      .show_default()
      .one_of({"fail", "skip"});
  line.flag("--localise", options->request.localise,
            "of a classifier's run: --data is annotated with boxes; how well those of the class "
            "maps lie");
  line.option("--share", options->request.share, "of --localise: as `detect` takes it")
      .show_default()
      .range(0.0, 1.0);
  line.option("--target", options->request.target, "of --localise: as `detect` takes it")
      .show_default();
  line.flag("--wrong", options->request.wrong,
            "also list the files answered wrongly: true class, answer, its probability, and the "
            "margin between the two");
  line.flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kEval = {"eval", "accuracy, per-class precision and recall, confusion matrix",
                          "tapescope eval --run runs/flowers --data flowers --wrong", setup_eval};

}  // namespace tapescope::cli
