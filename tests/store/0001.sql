-- A database of the first schema, made by its migration, with rows put into it by hand: skeletons
-- as they were computed then, for names that look alike now.
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
INSERT INTO "accounts" VALUES(1,'alice','bob',X'00',5,3);
INSERT INTO "accounts" VALUES(2,'bob','alice',X'00',5,0);
INSERT INTO "accounts" VALUES(3,'carol','carol',X'00',5,0);
INSERT INTO "accounts" VALUES(4,'caꮁol','cayol',X'00',5,0);
INSERT INTO "accounts" VALUES(5,'dån','dån',X'00',5,0);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE direct_messages (
	id INTEGER NOT NULL,
	sender_id INTEGER NOT NULL,
	recipient_id INTEGER NOT NULL,
	time BIGINT NOT NULL,
	text TEXT NOT NULL,
	CONSTRAINT pk_direct_messages PRIMARY KEY (id),
	CONSTRAINT fk_direct_messages_sender_id FOREIGN KEY(sender_id) REFERENCES accounts (id),
	CONSTRAINT fk_direct_messages_recipient_id FOREIGN KEY(recipient_id) REFERENCES accounts (id)
);
INSERT INTO "direct_messages" VALUES(3,4,1,8,'psst');
INSERT INTO "direct_messages" VALUES(4,1,4,9,'hm');
CREATE TABLE log_head (
	id INTEGER NOT NULL,
	last_id BIGINT NOT NULL,
	CONSTRAINT pk_log_head PRIMARY KEY (id)
);
INSERT INTO "log_head" VALUES(1,4);
CREATE TABLE messages (
	id INTEGER NOT NULL,
	room_id INTEGER NOT NULL,
	seq BIGINT NOT NULL,
	author VARCHAR(32) NOT NULL,
	time BIGINT NOT NULL,
	text TEXT NOT NULL,
	action BOOLEAN NOT NULL,
	CONSTRAINT pk_messages PRIMARY KEY (id),
	CONSTRAINT fk_messages_room_id FOREIGN KEY(room_id) REFERENCES rooms (id),
	CONSTRAINT uq_messages_room_id_seq UNIQUE (room_id, seq)
);
INSERT INTO "messages" VALUES(1,1,1,'alice',7,'hello',0);
INSERT INTO "messages" VALUES(2,2,1,'guest1',7,'waves',1);
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
INSERT INTO "rooms" VALUES(1,'lobby','lobby','','',0,1);
INSERT INTO "rooms" VALUES(2,'seꮁver','seyver','','',6,1);
INSERT INTO "rooms" VALUES(3,'server','server','','',6,0);
CREATE INDEX ix_direct_messages_recipient_id_id ON direct_messages (recipient_id, id);
CREATE INDEX ix_direct_messages_sender_id_recipient_id_id ON direct_messages (sender_id, recipient_id, id);
COMMIT;
