#include "lmdb_makers.h"

#include <lmdb.h>

#include <functional>

namespace casdm::testing {

namespace {

void change_lmdb(const std::filesystem::path& folder, std::size_t map_size,
                 const std::function<void(MDB_txn*, MDB_dbi)>& change) {
  MDB_env* environment = nullptr;
  MDB_txn* transaction = nullptr;
  MDB_dbi database = 0;
  require(mdb_env_create(&environment) == 0 && mdb_env_set_mapsize(environment, map_size) == 0, "no LMDB");
  require(mdb_env_open(environment, folder.c_str(), 0, 0664) == 0, "no LMDB");
  require(mdb_txn_begin(environment, nullptr, 0, &transaction) == 0, "no transaction");
  require(mdb_dbi_open(transaction, nullptr, 0, &database) == 0, "no database");
  change(transaction, database);
  require(mdb_txn_commit(transaction) == 0, "no commit");
  mdb_env_close(environment);
}

MDB_val lmdb_value(const std::string& name) { return {name.size(), const_cast<char*>(name.data())}; }

}  // namespace

void write_lmdb(const std::filesystem::path& folder, const NamedBytes& entries, std::size_t map_size) {
  std::filesystem::create_directories(folder);
  change_lmdb(folder, map_size, [&](MDB_txn* transaction, MDB_dbi database) {
    for (const auto& [name, bytes] : entries) {
      MDB_val key = lmdb_value(name);
      MDB_val value{bytes.size(), const_cast<std::uint8_t*>(bytes.data())};
      require(mdb_put(transaction, database, &key, &value, 0) == 0, "no entry");
    }
  });
}

void remove_from_lmdb(const std::filesystem::path& folder, const std::string& key) {
  change_lmdb(folder, std::filesystem::file_size(folder / "data.mdb") * 2, [&](MDB_txn* transaction, MDB_dbi database) {
    MDB_val name = lmdb_value(key);
    require(mdb_del(transaction, database, &name, nullptr) == 0, "no entry to remove");
  });
}

}  // namespace casdm::testing
