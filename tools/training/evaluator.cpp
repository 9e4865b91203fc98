#include "tools/training/evaluator.h"

#include "tools/training/trainer.h"

namespace tapescope {
namespace {

Program evaluation_program(const Model& model, const Task& task, std::int64_t batch_size,
                           const Backend& backend, std::shared_ptr<SharedArena> arena,
                           std::span<const std::string> cuts, int chunks, Communicator* ranks) {
  Tape tape(backend.device, Mode::evaluation, {0, backend.choices, backend.precision});
  const NamedVars inputs = task.inputs(tape, batch_size);
  const NamedVars outputs = model(inputs);
  CompileOptions options;
  options.arena = std::move(arena);
  options.chunks = chunks;
  options.ranks = ranks;
  for (const std::string& path : cuts) options.cuts.push_back(tape.find(path));
  const Var wanted[] = {task.loss(inputs, outputs).samples, task.predictions(outputs)};
  return tape.compile(wanted, {}, options);
}

}  // namespace

Evaluator::Evaluator(const Model& model, const Task& task, std::int64_t batch_size,
                     const Backend& backend, std::shared_ptr<SharedArena> arena,
                     std::span<const std::string> cuts, int chunks, Communicator* ranks)
    : task_(task),
      program_(evaluation_program(model, task, batch_size, backend, std::move(arena), cuts, chunks,
                                  ranks)),
      staging_(backend.device),
      ranks_(ranks) {}

std::unique_ptr<Metrics> Evaluator::over(Loader& loader) {
  std::unique_ptr<Metrics> metrics = task_.metrics();
  loader.start(0);
  for (Batch batch; loader.next(batch);) {
    const std::vector<Tensor> out = program_.run(staging_.stage(task_.feed(batch)));
    staging_.done();
    if (ranks_ == nullptr) {
      metrics->add(batch, out[0], out[1]);
      continue;
    }
    // All answers in their order, and what they are held against: everything but the pictures.
    metrics->add(whole_batch(batch, *ranks_, "image"), gathered(out[0], batch, *ranks_),
                 gathered(out[1], batch, *ranks_));
  }
  return metrics;
}

std::unique_ptr<Metrics> evaluate(const Model& model, const Task& task,
                                  std::shared_ptr<const SampleSource> data, std::int64_t batch_size,
                                  int loader_threads, const Backend& backend) {
  move_to(backend.device, model.parameters());
  Loader loader(std::move(data), {.batch_size = batch_size, .threads = loader_threads});
  return Evaluator(model, task, batch_size, backend).over(loader);
}

std::unique_ptr<Metrics> evaluate(const Model& model, const Task& task,
                                  std::shared_ptr<const Dataset> data, const Pipeline& pipeline,
                                  std::int64_t batch_size, int loader_threads,
                                  const Backend& backend) {
  return evaluate(model, task, std::make_shared<ImageSource>(std::move(data), pipeline), batch_size,
                  loader_threads, backend);
}

}  // namespace tapescope
