-- A database of version 0.1, made by its store. The log's first messages were deleted because they
-- were old, and the clock was set back twice. The last account and the last room look like others,
-- and were kept when the schema became 0003. The id 12 was a private message of a guest.
BEGIN TRANSACTION;
CREATE TABLE accounts (
	id INTEGER NOT NULL,
	name VARCHAR(32) NOT NULL,
	skeleton TEXT NOT NULL,
	password_hash BLOB NOT NULL,
	created BIGINT NOT NULL,
	read_up_to BIGINT DEFAULT '0' NOT NULL,
	CONSTRAINT pk_accounts PRIMARY KEY (id),
	CONSTRAINT uq_accounts_name UNIQUE (name),
	CONSTRAINT uq_accounts_skeleton UNIQUE (skeleton)
);
INSERT INTO "accounts" VALUES(1,'alice','alice',X'24326224303424616C6963652E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E',1700000000000,12);
INSERT INTO "accounts" VALUES(2,'bob','bob',X'24326224303424626F622E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E',1700000000200,11);
INSERT INTO "accounts" VALUES(3,'carol','carol',X'243262243034246361726F6C2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E',1700000000300,21);
INSERT INTO "accounts" VALUES(4,'dave','dave',X'24326224303424646176652E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E',1700000000400,0);
INSERT INTO "accounts" VALUES(9,'caꮁol','carol 9',X'00',1700000000010,0);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0004');
CREATE TABLE direct_messages (
	id INTEGER NOT NULL,
	sender_id INTEGER NOT NULL,
	recipient_id INTEGER NOT NULL,
	time BIGINT NOT NULL,
	text TEXT NOT NULL, label VARCHAR(64),
	CONSTRAINT pk_direct_messages PRIMARY KEY (id),
	CONSTRAINT fk_direct_messages_sender_id FOREIGN KEY(sender_id) REFERENCES accounts (id),
	CONSTRAINT fk_direct_messages_recipient_id FOREIGN KEY(recipient_id) REFERENCES accounts (id)
);
INSERT INTO "direct_messages" VALUES(10,1,2,1700000000520,'psst','alice-0003');
INSERT INTO "direct_messages" VALUES(11,2,1,1700000000520,'what?',NULL);
INSERT INTO "direct_messages" VALUES(13,1,1,1700000000530,'buy milk',NULL);
INSERT INTO "direct_messages" VALUES(15,2,1,1700000000600,'are you there?',NULL);
INSERT INTO "direct_messages" VALUES(16,3,1,1700000000610,'lunch?',NULL);
INSERT INTO "direct_messages" VALUES(17,1,3,1700000000605,'yes',NULL);
INSERT INTO "direct_messages" VALUES(18,3,2,1700000000620,'lunch?',NULL);
INSERT INTO "direct_messages" VALUES(19,2,2,1700000000630,'note',NULL);
INSERT INTO "direct_messages" VALUES(20,1,2,1700000000640,'',NULL);
CREATE TABLE log_head (
	id INTEGER NOT NULL,
	last_id BIGINT NOT NULL, commits BIGINT DEFAULT '0' NOT NULL,
	CONSTRAINT pk_log_head PRIMARY KEY (id)
);
INSERT INTO "log_head" VALUES(1,23,26);
CREATE TABLE messages (
	id INTEGER NOT NULL,
	room_id INTEGER NOT NULL,
	seq BIGINT NOT NULL,
	author VARCHAR(32) NOT NULL,
	time BIGINT NOT NULL,
	text TEXT NOT NULL,
	action BOOLEAN NOT NULL, label VARCHAR(64),
	CONSTRAINT pk_messages PRIMARY KEY (id),
	CONSTRAINT fk_messages_room_id FOREIGN KEY(room_id) REFERENCES rooms (id),
	CONSTRAINT uq_messages_room_id_seq UNIQUE (room_id, seq)
);
INSERT INTO "messages" VALUES(4,1,3,'alice',1700000000100,'hello',0,'alice-0001');
INSERT INTO "messages" VALUES(5,1,4,'bob',1700000000100,'hi, I am a guest',0,NULL);
INSERT INTO "messages" VALUES(6,1,5,'bob',1700000000090,'waves',1,NULL);
INSERT INTO "messages" VALUES(7,2,1,'bob',1700000000110,'anybody?',0,NULL);
INSERT INTO "messages" VALUES(8,1,6,'bob',1700000000500,'now I am bob',0,NULL);
INSERT INTO "messages" VALUES(9,2,2,'alice',1700000000510,'reviews',1,'alice-0002-long-label-to-repeat');
INSERT INTO "messages" VALUES(14,2,3,'carol',1700000000540,'你好 😀',0,NULL);
INSERT INTO "messages" VALUES(21,1,7,'боб',1700000000650,'a look-alike guest',0,NULL);
INSERT INTO "messages" VALUES(22,1,8,'dave',1700000000700,'bye',0,'dave-0001');
INSERT INTO "messages" VALUES(23,1,9,'dave',1700000000700,'bye again',0,NULL);
CREATE TABLE rooms (
	id INTEGER NOT NULL,
	name VARCHAR(32) NOT NULL,
	skeleton TEXT NOT NULL,
	topic TEXT DEFAULT '' NOT NULL,
	topic_by VARCHAR(32) DEFAULT '' NOT NULL,
	created BIGINT NOT NULL,
	last_seq BIGINT DEFAULT '0' NOT NULL,
	CONSTRAINT pk_rooms PRIMARY KEY (id),
	CONSTRAINT uq_rooms_name UNIQUE (name),
	CONSTRAINT uq_rooms_skeleton UNIQUE (skeleton)
);
INSERT INTO "rooms" VALUES(1,'lobby','lobby','','',0,9);
INSERT INTO "rooms" VALUES(2,'dev','dev','release on friday','alice',1700000000050,3);
INSERT INTO "rooms" VALUES(3,'attic','attic','','',1700000000060,1);
INSERT INTO "rooms" VALUES(4,'café','café','','alice',1700000000070,0);
INSERT INTO "rooms" VALUES(9,'ԁev','dev 9','not dev','dave',1700000000020,0);
CREATE INDEX ix_direct_messages_recipient_id_id ON direct_messages (recipient_id, id);
CREATE INDEX ix_direct_messages_sender_id_recipient_id_id ON direct_messages (sender_id, recipient_id, id);
CREATE INDEX ix_direct_messages_sender_id_id ON direct_messages (sender_id, id);
CREATE INDEX ix_messages_labelled ON messages (time) WHERE label IS NOT NULL;
CREATE INDEX ix_direct_messages_labelled ON direct_messages (time) WHERE label IS NOT NULL;
COMMIT;
