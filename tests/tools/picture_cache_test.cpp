#include "tools/data/picture_cache.h"

#include <sys/resource.h>

#include <csignal>
#include <set>

#include "tests/tools/temporary_folder.h"
#include "tools/data/loader.h"

namespace tapescope {
namespace {

Image numbered(std::int64_t index) { return {4, 5, 3, static_cast<std::uint8_t>(index)}; }
constexpr std::int64_t kBytes = 4 * 5 * 3;

// How often each of `count` pictures is made in three rounds, and whether all are what they should
// be.
std::vector<int> made_of(const std::shared_ptr<PictureRoom>& room, std::int64_t count) {
  const PictureCache cache(count, room);
  std::vector<int> made(static_cast<std::size_t>(count), 0);
  for (int round = 0; round < 3; ++round) {
    for (std::int64_t i = 0; i < count; ++i) {
      const ImageView view = cache.at(i, [&] {
        ++made[static_cast<std::size_t>(i)];
        return numbered(i);
      });
      EXPECT_EQ(copy_of(view).pixels, numbered(i).pixels);
    }
  }
  return made;
}

TEST(PictureCache, MakesEachOnceWhileThereIsRoom) {
  const TemporaryFolder folder;
  const std::vector<int> expected = {1, 1, 1, 1, 3, 3};
  const auto memory = std::make_shared<PictureRoom>(4 * kBytes + 10);
  EXPECT_EQ(made_of(memory, 6), expected);
  EXPECT_EQ(made_of(memory, 6), expected) << "a cache that ends gives its room back";
  EXPECT_EQ(made_of(std::make_shared<PictureRoom>(4 * kBytes, folder.path()), 6), expected);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "the file has no name";
}

TEST(PictureCache, KeepsNoMoreWhereTheDiskTakesNoMore) {
  const TemporaryFolder folder;
  const auto room = std::make_shared<PictureRoom>(100 * kBytes, folder.path());
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{2 * kBytes + 7, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &limit);
  const std::vector<int> made = made_of(room, 5);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(made, (std::vector<int>{1, 1, 3, 3, 3}));
}

TEST(PictureRoom, IsHalfOfWhatIsFree) {
  const TemporaryFolder folder;
  const auto space = std::filesystem::space(folder.path());
  const auto disk = PictureRoom::of_disk(folder.path());
  EXPECT_NEAR(static_cast<double>(disk->bytes()), static_cast<double>(space.available) / 2, 1e9);
  EXPECT_GT(PictureRoom::of_memory()->bytes(), 1 << 20);
  EXPECT_NE(usage_message([&] { PictureRoom::of_disk(folder / "none"); }), "");
}

// Two classes of `count` pictures each, of 4x6 pixels.
void write_pictures(const std::filesystem::path& folder, int count) {
  for (const char* name : {"a", "b"}) {
    for (int i = 0; i < count; ++i) {
      std::string picture = "P5 6 4 255\n";
      for (int k = 0; k < 24; ++k)
        picture += static_cast<char>(k * 5 + i + (*name == 'a' ? 0 : 90));
      put(folder / name / fmt::format("{:05}.pgm", i), picture);
    }
  }
}

std::vector<float> epochs_of(const std::shared_ptr<const Dataset>& data, const Pipeline& pipeline,
                             const std::shared_ptr<PictureRoom>& room) {
  Loader loader(std::make_shared<ImageSource>(data, pipeline, room),
                {.batch_size = 3, .shuffle = true, .threads = 3});
  std::vector<float> all;
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    loader.start(epoch);
    for (Batch batch; loader.next(batch);) {
      const auto values = batch["image"].values<float>();
      all.insert(all.end(), values.begin(), values.end());
    }
  }
  return all;
}

TEST(PictureCache, ChangesNoBitOfAnEpoch) {
  const TemporaryFolder folder;
  write_pictures(folder.path(), 5);
  const auto data =
      open_data(folder.path(), {.validation_fraction = 0, .cache_decoded = false}).train;
  for (const Pipeline& pipeline :
       {Pipeline({Resize{.short_side = 9}, CenterCrop{8, 8}, ToTensor{}}),
        Pipeline(
            {Resize{.short_side = 9}, RandomCrop{8, 8, 1}, RandomHorizontalFlip{}, ToTensor{}}),
        Pipeline({RandomResizedCrop{.height = 8, .width = 8}, ToTensor{}})}) {
    const std::vector<float> plain = epochs_of(data, pipeline, nullptr);
    for (const std::int64_t bytes : {0, 500, 1 << 20}) {
      EXPECT_EQ(epochs_of(data, pipeline, std::make_shared<PictureRoom>(bytes)), plain) << bytes;
      EXPECT_EQ(epochs_of(data, pipeline, std::make_shared<PictureRoom>(bytes, folder.path())),
                plain)
          << bytes;
    }
  }
}

TEST(ImageFiles, ReadEachFileOnce) {
  const TemporaryFolder folder;
  write_pictures(folder.path(), 2);
  for (const bool decoded : {true, false}) {
    DataOptions options{.validation_fraction = 0, .cache_decoded = decoded};
    const auto data = open_data(folder.path(), options).train;
    options.cache_bytes = 0;
    const auto unkept = open_data(folder.path(), options).train;
    const std::filesystem::path away = folder / "away";
    std::filesystem::rename(data->name(0), away);
    EXPECT_EQ(data->image(0).pixels[3], 5) << "as it was read when the data was opened";
    EXPECT_NE(usage_message([&] { unkept->image(0); }), "");
    if (!decoded) EXPECT_NE(usage_message([&] { data->image(0); }), "") << "what was read is gone";
    std::filesystem::rename(away, data->name(0));
  }
}

// As 200,000 are (bench/FIGURES.md): no file stays open, and time is in proportion to their number.
TEST(ImageFiles, ManyFilesInOneProcess) {
  const auto open_files = [] {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  const auto seconds_for = [&](int count) {
    const TemporaryFolder folder;
    write_pictures(folder.path(), count / 2);
    const auto before = open_files();
    timespec began{}, ended{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &began);
    const DataSplits splits = open_data(folder.path(), {.test_fraction = 0.1});
    Loader loader(splits.train, Pipeline(), {.batch_size = 64, .shuffle = true});
    loader.start(0);
    std::set<std::int64_t> seen;
    for (Batch batch; loader.next(batch);) seen.insert(batch.indices.begin(), batch.indices.end());
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
    EXPECT_EQ(static_cast<std::int64_t>(seen.size()), splits.train->size());
    EXPECT_EQ(splits.train->size() + splits.validation->size() + splits.test->size(), count);
    EXPECT_EQ(open_files(), before);
    return static_cast<double>(ended.tv_sec - began.tv_sec) +
           1e-9 * static_cast<double>(ended.tv_nsec - began.tv_nsec);
  };
  const double few = std::min(seconds_for(500), seconds_for(500));
  EXPECT_LT(seconds_for(5000), 30 * few);
}

}  // namespace
}  // namespace tapescope
