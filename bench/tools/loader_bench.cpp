// Pictures per second of one thread, from JPEG files in the page cache to normalised batches f32
// {16, 224, 224, 3}. TAPESCOPE_PICTURES names a folder of class folders, of pictures of about 320
// pixels for the figures that are told. bench/peers/loader.py does the same with torchvision.
#include <benchmark/benchmark.h>

#include <cstdlib>

#include "tools/data/loader.h"

namespace tapescope {
namespace {

Pipeline evaluation() {
  return Pipeline({Resize{.short_side = 256}, CenterCrop{224, 224}, ToTensor{},
                   Normalize{{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}}});
}
Pipeline training() {
  return Pipeline({RandomResizedCrop{.height = 224, .width = 224}, RandomHorizontalFlip{},
                   ToTensor{}, Normalize{{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}}});
}

void loader(benchmark::State& state, const Pipeline& pipeline, bool kept) {
  const char* folder = std::getenv("TAPESCOPE_PICTURES");
  if (folder == nullptr) {
    state.SkipWithError("TAPESCOPE_PICTURES names no folder of pictures");
    return;
  }
  const DataSplits splits =
      open_data(folder, {.validation_fraction = 0, .cache_bytes = 0, .cache_decoded = false});
  const auto room = kept ? std::make_shared<PictureRoom>(std::int64_t{4} << 30) : nullptr;
  Loader loader(std::make_shared<ImageSource>(splits.train, pipeline, room),
                {.batch_size = 16, .shuffle = true, .threads = 0});
  std::int64_t epoch = 0, pictures = 0;
  const auto run = [&] {
    loader.start(epoch++);
    for (Batch batch; loader.next(batch);) pictures += batch.rows();
  };
  run();  // files come into the page cache, pictures into the room
  pictures = 0;
  for (auto _ : state) run();
  state.SetItemsProcessed(pictures);
}

BENCHMARK_CAPTURE(loader, evaluation, evaluation(), false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(loader, training, training(), false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(loader, evaluation_kept, evaluation(), true)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(loader, training_kept, training(), true)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tapescope
